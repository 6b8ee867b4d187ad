"""github-to-sqlite, issues and pull requests of the repositories named, from $GITHUB_API_URL instead of GitHub."""

import os
import sys

import requests
from github_to_sqlite import cli, utils

REAL_GET = requests.get


def get_local(url, **options):
    return REAL_GET(url.replace("https://api.github.com", os.environ["GITHUB_API_URL"]), **options)


utils.requests.get = get_local
for repo in sys.argv[1:]:
    for command in ("issues", "pull-requests"):
        cli.cli([command, "github.db", repo], standalone_mode=False)
