"""Who does something at GitHub: people, bots, and accounts that are no more."""

import functools
import zlib

from tests.github_world.basics import API, WEB

PARTS = ("followers", "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "subscriptions",
         "orgs", "repos", "events{/privacy}", "received_events")  # fmt: skip
NAMES = {"orgs": "organizations_url"}


def person(who):
    """A user as REST shows it: of a login ("x[bot]" is a Bot), None for a deleted one, or one that is whole already."""
    return who if who is None or isinstance(who, dict) else _of_login(who)


@functools.lru_cache(maxsize=None)
def _of_login(who):
    url = f"{API}/users/" + who.replace("[", "%5B").replace("]", "%5D")
    is_bot = who.endswith("[bot]")
    number = zlib.crc32(who.encode())
    shown = {
        "login": who, "id": number, "node_id": f"U_{number}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4", "gravatar_id": "", "url": url,
        "html_url": f"{WEB}/apps/{who[:-5]}" if is_bot else f"{WEB}/{who}",
    }  # fmt: skip
    for part in PARTS:
        shown[NAMES.get(part, part.split("{")[0] + "_url")] = f"{url}/{part}"
    return {**shown, "type": "Bot" if is_bot else "User", "user_view_type": "public", "site_admin": False}


def actor(user):
    """The same as GraphQL has it: a bot's login stands without "[bot]" there."""
    if user is None:
        return None
    login, kind = user["login"], user.get("type", "User")
    plain = login[:-5] if kind == "Bot" and login.endswith("[bot]") else login
    return {
        "__typename": kind, "login": plain, "url": f"{WEB}/{plain}", "id": f"U_{user.get('id')}",
        "databaseId": user.get("id", 1) % 2**31,
    }  # fmt: skip
