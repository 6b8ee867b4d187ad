"""What a list's query selects, and in which order: each list has its own rules."""

NAMES = {  # the address below a repository's -> what the tests call the list
    "issues": "issues",
    "pulls": "pulls",
    "issues/comments": "issue-comments",
    "pulls/comments": "review-comments",
    "issues/events": "events",
    "milestones": "milestones",
    "labels": "labels",
    "releases": "releases",
}
ADDRESSES = {name: address for address, name in NAMES.items()}


def select(name, items, query, first, count):
    """(ids of a page, how many there are in all)."""
    if name in ("issues", "pulls"):
        since = query.get("since") if name == "issues" else None
        if since and since < "2007-10":
            return [], 0
        if query.get("sort") == "created":
            return by_creation(items, query, since or "", first, count)
        return items.select(
            state=query.get("state", "open"), since=since, newest_first=query.get("direction") != "asc",
            first=first, count=count,
        )  # fmt: skip
    found = ORDERS[name](items, query)
    return found[first : first + count], len(found)


def by_creation(items, query, since, first, count):
    """In the order of their numbers, which is that."""
    found = [
        (number, item_id) for item_id, (updated_at, number, state, _) in list(items.items.items())
        if query.get("state", "open") in ("all", state) and updated_at >= since
    ]  # fmt: skip
    found.sort(reverse=query.get("direction") != "asc")
    return [item_id for _, item_id in found[first : first + count]], len(found)


def comments(items, query):
    """Without `sort` by id, and the direction is ignored (airbytehq/airbyte #19682); `since` is inclusive."""
    since = query.get("since", "")
    found = [item_id for updated_at, item_id in items.order if updated_at >= since]
    if query.get("sort") not in ("created", "updated"):
        return sorted(found)
    if query["sort"] == "created":
        found.sort(key=lambda item_id: (items.sorted_by[item_id], item_id))
    return found if query.get("direction") == "asc" else found[::-1]


def events(items, query):
    """Newest first, and nothing else can be asked for."""
    return [item_id for _, item_id in reversed(items.order)]


def milestones(items, query):
    """The open ones, if nothing else is said, by the day when they are due."""
    state, is_descending = query.get("state", "open"), query.get("direction") == "desc"
    found = [item_id for item_id, item in items.items.items() if state in ("all", item[2])]
    return sorted(found, key=lambda item_id: (items.sorted_by[item_id] or "", item_id), reverse=is_descending)


def labels(items, query):
    return sorted(items.items, key=lambda item_id: items.sorted_by[item_id].lower())


def releases(items, query):
    return sorted(items.items, key=lambda item_id: (items.sorted_by[item_id], item_id), reverse=True)


ORDERS = {
    "issue-comments": comments, "review-comments": comments, "events": events,
    "milestones": milestones, "labels": labels, "releases": releases,
}  # fmt: skip
