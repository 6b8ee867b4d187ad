"""What belongs to a repository as a whole: milestones, labels, releases."""

import itertools

from tests.github_world.basics import API, WEB, compact_json, utc
from tests.github_world.people import person

SORTED_BY = {"milestones": "due_on", "labels": "name", "releases": "created_at"}


class Meta:
    """A repository's part. Labels have no times; a milestone counts its issues as they are when it is asked for."""

    def _begin_meta(self):
        self._things = {}  # (stream, id) -> fields
        self._meta_ids = itertools.count(self.id * 10**7 + 1)
        self._milestone_numbers = itertools.count(1)

    def add_milestone(self, title, *, state="open", due_on=None, description=None, creator="ada", at=None, **fields):
        """Returns its id; `milestone(id)` is what an item's field `milestone` takes."""
        now = self._when(at)
        return self._add_thing("milestones", {
            "title": title, "state": state, "due_on": due_on, "description": description, "creator": person(creator),
            "created_at": now, "updated_at": now, "closed_at": now if state == "closed" else None,
            "number": next(self._milestone_numbers), **fields,
        })  # fmt: skip

    def add_label(self, name, *, color=None, description=None, default=False):
        return self._add_thing("labels", {
            "name": name, "color": color or self.color_of(name), "description": description, "default": default,
        })  # fmt: skip

    def add_release(self, tag, *, name=None, target="main", author="ada", draft=False, prerelease=False, at=None,
                    **fields):  # fmt: skip
        now = self._when(at)
        return self._add_thing("releases", {
            "tag_name": tag, "target_commitish": target, "name": name, "author": person(author), "draft": draft,
            "prerelease": prerelease, "created_at": now, "updated_at": now, "body": "What is new.",
            "published_at": None if draft else now, **fields,
        })  # fmt: skip

    def edit(self, stream, thing_id, **changes):
        """Change a milestone, a label or a release now."""
        with self.lock:
            now = {} if stream == "labels" else {"updated_at": utc(self._clock())}
            self._put_thing(stream, thing_id, {**self._things[stream, thing_id], **now, **changes})

    def delete(self, stream, thing_id):
        with self.lock:
            del self._things[stream, thing_id]
            self.streams[stream].remove(thing_id)

    def milestone(self, milestone_id):
        """As an item shows it."""
        fields = self._things["milestones", milestone_id]
        return {"id": milestone_id, "title": fields["title"], "number": fields["number"], "state": fields["state"]}

    def thing(self, stream, thing_id):
        return self._things[stream, thing_id]

    def _add_thing(self, stream, fields):
        with self.lock:
            thing_id = next(self._meta_ids)
            self._put_thing(stream, thing_id, fields)
        return thing_id

    def _put_thing(self, stream, thing_id, fields):
        self._things[stream, thing_id] = fields
        shown = {"milestones": self._milestone, "labels": self._label, "releases": self._release}[stream]
        self.streams[stream].put(
            thing_id, fields.get("number", 0), fields.get("updated_at", ""), fields.get("state", ""),
            lambda: compact_json(shown(thing_id, fields)), sorted_by=fields[SORTED_BY[stream]],
        )  # fmt: skip

    def _milestone(self, milestone_id, fields):
        number = fields["number"]
        url = "%s/repos/%s/milestones/%d" % (API, self.full_name, number)
        states = [
            of.get("state", "open") for of in list(self._fields.values())
            if (of.get("milestone") or {}).get("number") == number
        ]  # fmt: skip
        return {
            "url": url, "html_url": "%s/%s/milestone/%d" % (WEB, self.full_name, number),
            "labels_url": url + "/labels", "id": milestone_id, "node_id": self.node_id("MI", milestone_id),
            "number": number, "title": fields["title"], "description": fields["description"],
            "creator": fields["creator"], "open_issues": states.count("open"), "closed_issues": states.count("closed"),
            "state": fields["state"], "created_at": fields["created_at"], "updated_at": fields["updated_at"],
            "due_on": fields["due_on"], "closed_at": fields["closed_at"],
        }  # fmt: skip

    def _label(self, label_id, fields):
        url = "%s/repos/%s/labels/%s" % (API, self.full_name, fields["name"].replace(" ", "%20"))
        return {"id": label_id, "node_id": self.node_id("LA", label_id), "url": url, **fields}

    def _release(self, release_id, fields):
        repo, tag = "%s/repos/%s" % (API, self.full_name), fields["tag_name"]
        url = "%s/releases/%d" % (repo, release_id)
        page = "%s/%s/releases/" % (WEB, self.full_name)
        return {
            "url": url, "assets_url": url + "/assets",
            "upload_url": url.replace("api.", "uploads.") + "/assets{?name,label}",
            "html_url": page + ("tag/untagged-1" if fields["draft"] else "tag/" + tag),
            "id": release_id, "node_id": self.node_id("RE", release_id), "assets": [], "immutable": False,
            "tarball_url": f"{repo}/tarball/{tag}", "zipball_url": f"{repo}/zipball/{tag}", **fields,
        }  # fmt: skip
