"""What a list's query selects, and in which order: each list has its own rules."""

NAMES = {  # the address below a repository's -> what the tests call the list
    "issues": "issues",
    "pulls": "pulls",
    "issues/comments": "issue-comments",
    "pulls/comments": "review-comments",
}
ADDRESSES = {name: address for address, name in NAMES.items()}


def select(name, items, query, first, count):
    """(ids of a page, how many there are in all)."""
    if name in ("issues", "pulls"):
        since = query.get("since") if name == "issues" else None
        if since and since < "2007-10":
            return [], 0
        return items.select(
            state=query.get("state", "open"), since=since, newest_first=query.get("direction") != "asc",
            first=first, count=count,
        )  # fmt: skip
    found = ORDERS[name](items, query)
    return found[first : first + count], len(found)


def comments(items, query):
    """Without `sort` by id, and the direction is ignored (airbytehq/airbyte #19682); `since` is inclusive."""
    since = query.get("since", "")
    found = [item_id for updated_at, item_id in items.order if updated_at >= since]
    if query.get("sort") not in ("created", "updated"):
        return sorted(found)
    if query["sort"] == "created":
        found.sort(key=lambda item_id: (items.created[item_id], item_id))
    return found if query.get("direction") == "asc" else found[::-1]


ORDERS = {"issue-comments": comments, "review-comments": comments}
