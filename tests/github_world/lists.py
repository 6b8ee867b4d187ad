"""A page of a list: which items, how deep one may go, and the links to others."""

import base64
import json
from urllib.parse import urlencode

from tests.github_world import orders
from tests.github_world.answers import BAD_GATEWAY, HTML, Answer, error

TOO_DEEP = "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination"
TOO_FAR = (
    "In order to keep the API fast for everyone, pagination is limited for this resource. Check the rel=last link"
    " relation in the Link response header to see how far back you can traverse."
)


class Lists:
    """The server's part. `max_page` is of issues, which then go on by a cursor; the others end where they end."""

    def _begin_lists(self, max_page):
        self.max_page = max_page
        self.deepest = {"issue-comments": 40_000, "review-comments": 40_000}  # a list is served up to this item
        self.event_pages = 300  # and that of events up to this page, which links to no further one

    def _list(self, repo, stream, query):
        size = min(int(query.get("per_page", 30)), 100)
        page = int(query.get("page", 1))
        if stream == "issues" and page > self.max_page and "after" not in query:
            return error(422, TOO_DEEP)
        if page * size > self.deepest.get(stream, page * size) or (stream == "events" and page > self.event_pages):
            return error(422, TOO_FAR)
        with repo.lock:
            items = repo.streams[stream]
            ids, more, total = self._selected(items, stream, query, page, size)
            if repo.broken & {(stream, known) for item_id in ids for known in (items.items[item_id][1], item_id)}:
                return Answer(502, BAD_GATEWAY, HTML)
            if self.after_selection:
                self.after_selection(repo, stream, [items.items[item_id][1] for item_id in ids])
            texts = [items.items[item_id][3]() for item_id in ids]
            served = [repo.served(stream, item_id, text) for item_id, text in zip(ids, texts) if self.keeps_served]
            last = (items.items[ids[-1]][0], ids[-1]) if ids else None
        headers = self._link(repo, stream, query, page, last if more else None, total)
        self.record(repo, stream, served)
        return Answer(200, ("[" + ",".join(texts) + "]").encode(), headers)

    def _selected(self, items, stream, query, page, size):
        """(ids, whether more follow, how many there are in all)"""
        if "after" in query and stream == "issues":
            ids, more = items.after(_from_cursor(query["after"]), size, query.get("direction") != "asc")
            return ids, more, None
        ids, total = orders.select(stream, items, query, (page - 1) * size, size)
        total = min(total, self.event_pages * size) if stream == "events" else total
        return ids, page * size < total, total

    def _link(self, repo, stream, query, page, last, total):
        """Issues: a cursor, beside a page number that means nothing, and no last page. The others: numbers."""
        address = "%s/repositories/%d/%s?" % (self.url, repo.id, orders.ADDRESSES[stream])
        if repo.cursors and stream == "issues":
            if last is None:
                return {}
            cursor = base64.urlsafe_b64encode(json.dumps(last).encode()).decode()
            return {
                "Link": '<%s>; rel="next"' % (address + urlencode({**query, "page": str(page + 1), "after": cursor}))
            }
        return numbered(address, query, page, total)


def numbered(address, query, page, total):
    """The Link header of a page; of a list's only page none."""
    last = -(-total // min(int(query.get("per_page", 30)), 100))
    rels = {"prev": page - 1}
    if page < last:
        rels.update(next=page + 1, last=last)
    if page > 1:
        rels["first"] = 1
    links = [
        '<%s>; rel="%s"' % (address + urlencode({**query, "page": str(number)}), rel)
        for rel, number in rels.items() if number
    ]  # fmt: skip
    return {"Link": ", ".join(links)} if links else {}


def _from_cursor(text):
    return tuple(json.loads(base64.urlsafe_b64decode(text)))
