"""A GitHub App: the server verifies its JWT, gives tokens to its installations, and shows them what is theirs.

`server.app = App(server)` makes it one's. https://docs.github.com/rest/apps/apps
"""

import base64
import functools
import json
import random

from foundation import timestamps
from tests.github_world.answers import as_json, error

MOST_JWT_SECONDS = 600
GRANTED = {"metadata": "read", "issues": "write", "pull_requests": "write", "contents": "read"}
NEEDED = {"issues": "issues", "pulls": "pull_requests", "releases": "contents"}
NOT_DECODED = "A JSON web token could not be decoded"
TOO_FAR = "'Expiration time' claim ('exp') is too far in the future"
OVER = (
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion"
    " expires"
)
NOT_YET = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued."


@functools.lru_cache(maxsize=None)
def rsa_key():
    from cryptography.hazmat.primitives.asymmetric import rsa  # here: the demo's environment has no such package

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(*, pkcs8=False):
    """The App's private key as GitHub gives it, or in the other form that tools make of it."""
    from cryptography.hazmat.primitives import serialization as forms

    form = forms.PrivateFormat.PKCS8 if pkcs8 else forms.PrivateFormat.TraditionalOpenSSL
    return rsa_key().private_bytes(forms.Encoding.PEM, form, forms.NoEncryption()).decode()


class Installation:
    """`repos`: the names that were selected; None: all of the owner's."""

    def __init__(self, number, owner, granted, repos):
        self.id, self.owner, self.granted, self.repos = number, owner, granted, repos
        self.suspended_at = None

    def sees(self, full_name):
        of_owner = full_name.lower().startswith(self.owner.lower() + "/")
        return of_owner if self.repos is None else of_owner and full_name in self.repos


class App:
    """`minted`: all tokens that were given, each for `token_seconds`; `jwts`: every JWT that was taken."""

    def __init__(self, server, app_id="12345", token_seconds=3600):
        self.server, self.id, self.token_seconds = server, app_id, token_seconds
        self.installations, self.minted, self.jwts = [], {}, set()
        self.unknown_yet = 0  # so many requests with a new token are answered as if it were not there yet
        self._random = random.Random(7)

    def install(self, owner, *, granted=GRANTED, repos=None):
        self.installations.append(Installation(70 + len(self.installations), owner, granted, repos))
        return self.installations[-1]

    def revoke(self, installation):
        self.installations.remove(installation)

    def end_tokens(self):
        """All that were given are over."""
        self.minted = {token: (owner, 0, asked) for token, (owner, _, asked) in self.minted.items()}

    def whose(self, token):
        """Tokens of one installation share their limits."""
        return self.minted[token][0].id if token in self.minted else token

    # Answers. None: the server's own.

    def answer(self, parts, query, token, body=None):
        if token in self.minted:
            return self._to_installation(parts, query, token)
        refused = self._refused_jwt(token or "")
        if refused:
            return error(401, refused)
        self.jwts.add(token)
        if parts == ["app"]:
            return as_json({"id": int(self.id), "slug": "the-pipeline", "name": "The pipeline"})
        if parts == ["app", "installations"]:
            return self._page(list(map(self._described, self.installations)), query, "app/installations", list)
        if parts[:2] == ["app", "installations"]:
            found = next((one for one in self.installations if str(one.id) == parts[2]), None)
            return self._mint(found, json.loads(body)) if found and body is not None else self._one(found)
        if parts[-1] == "installation":
            return self._of(parts[:-1], query)
        return error(401, "Bad credentials")

    def _refused_jwt(self, token):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signed, _, signature = token.rpartition(".")
        try:
            header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
            rsa_key().public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return NOT_DECODED if signed.startswith("eyJ") else "Bad credentials"
        now = self.server.clock()
        if header["alg"] != "RS256" or claims["iss"] != self.id:
            return NOT_DECODED
        if claims["exp"] > now + MOST_JWT_SECONDS:
            return TOO_FAR
        return OVER if claims["exp"] <= now else NOT_YET if claims["iat"] > now else None

    def _mint(self, installation, asked):
        if installation.suspended_at:
            return error(403, "This installation has been suspended")
        permissions = asked.get("permissions") or installation.granted
        if any(name not in installation.granted for name in permissions):
            return error(422, "The permissions requested are not granted to this installation.")
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
        token = f"ghs_{self.id}_eyJhbGciOi." + "".join(self._random.choice(letters) for _ in range(500))
        ends = self.server.clock() + self.token_seconds
        self.minted[token] = installation, ends, permissions
        return as_json({"token": token, "expires_at": timestamps.from_epoch(ends), "permissions": permissions}, 201)

    def _to_installation(self, parts, query, token):
        installation, ends, permissions = self.minted[token]
        if installation not in self.installations or self.server.clock() >= ends:
            return error(401, "Bad credentials")
        if self.unknown_yet:
            self.unknown_yet -= 1
            return error(401, "Bad credentials")
        if installation.suspended_at:
            return error(403, f"Sorry. This installation owned by {installation.owner} suspended")
        if parts == ["installation", "repositories"]:
            seen = [repo.payload() for repo in self.server.repos.values() if installation.sees(repo.full_name)]
            return self._page(
                seen, query, "installation/repositories",
                lambda page: {"total_count": len(seen), "repository_selection": "all", "repositories": page},
            )  # fmt: skip
        if parts == ["user"]:
            return error(403, "Resource not accessible by integration")
        repo = self._repo(parts)
        if repo is None or not repo.private:
            return None
        if not installation.sees(repo.full_name):
            return error(404, "Not Found")
        needed = NEEDED.get(parts[3 if parts[0] == "repos" else 2] if len(parts) > 2 + (parts[0] == "repos") else "")
        return error(403, "Resource not accessible by integration") if needed and needed not in permissions else None

    def _repo(self, parts):
        if parts[0] == "repos":
            return self.server.find("/".join(parts[1:3]))
        return self.server.find_by_id(int(parts[1])) if parts[0] == "repositories" else None

    def _of(self, parts, query):
        if parts[0] in ("orgs", "users"):
            return self._one(next((one for one in self.installations if one.owner.lower() == parts[1].lower()), None))
        repo = self._repo(parts)
        if parts[0] == "repos" and repo and repo.full_name.lower() != "/".join(parts[1:]).lower():
            return self.server._redirect(repo, ["installation"], query)
        return self._one(next((one for one in self.installations if repo and one.sees(repo.full_name)), None))

    def _one(self, installation):
        return as_json(self._described(installation)) if installation else error(404, "Not Found")

    def _described(self, one):
        return {
            "id": one.id, "account": {"login": one.owner, "type": "Organization"}, "app_id": int(self.id),
            "permissions": one.granted, "repository_selection": "all" if one.repos is None else "selected",
            "suspended_at": one.suspended_at,
        }  # fmt: skip

    def _page(self, entries, query, path, shaped):
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        more = page * size < len(entries)
        link = {"Link": f'<{self.server.url}/{path}?per_page={size}&page={page + 1}>; rel="next"'} if more else {}
        return as_json(shaped(entries[(page - 1) * size : page * size]), **link)


def _decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
