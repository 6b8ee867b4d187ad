"""Budgets: each token has its own for each resource and hour, and so has who has none."""

from tests.github_world.answers import as_json

WINDOW_SECONDS = 3600
ANONYMOUS_LIMIT = 60


class Limits:
    """The server's part. GraphQL has a budget of its own, and none at all without a token."""

    def _begin_limits(self, rate_limit):
        self.rate_limit, self.graphql_limit = rate_limit, rate_limit
        self.points_used = self.graphql_points_used = 0
        self._used = {}  # (resource, token, hour) -> points

    def resource_of(self, path):
        return "graphql" if path.rstrip("/").endswith("/graphql") else "core"

    def spend(self, token, resource, points):
        if resource == "core":
            self.points_used += points
        else:
            self.graphql_points_used += points
        window = self._window(token, resource)
        self._used[window] = self._used.get(window, 0) + points

    def limit_headers(self, token, resource="core"):
        limit = self.limit(token, resource)
        if limit is None:
            return {}
        left = self.left(token, resource)
        return {
            "x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(left),
            "x-ratelimit-reset": str(self.reset_at()), "x-ratelimit-used": str(limit - left),
            "x-ratelimit-resource": resource,
        }  # fmt: skip

    def _limits(self, token):
        resources = {}
        for resource in ("core", "graphql"):
            limit, left = self.limit(token, resource), self.left(token, resource)
            resources[resource] = {"limit": limit, "used": limit - left, "remaining": left, "reset": self.reset_at()}
        return as_json({"resources": resources})

    def limit(self, token, resource="core"):
        whole = self.rate_limit if resource == "core" else self.graphql_limit
        if whole is None or token:
            return whole
        return min(whole, ANONYMOUS_LIMIT if resource == "core" else 0)

    def left(self, token, resource="core"):
        return max(0, (self.limit(token, resource) or 0) - self._used.get(self._window(token, resource), 0))

    def _window(self, token, resource):
        return resource, self.app.whose(token) if self.app else token, int(self.clock()) // WINDOW_SECONDS

    def reset_at(self):
        return (int(self.clock()) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
