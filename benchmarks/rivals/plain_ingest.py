"""The cheapest ingest that a person would write: pages, json.dumps, INSERT, one commit at the end.

No dedupe, no cursor, no retries, no limits; whatever stops it loses all.
"""

import json
import os
import sqlite3
import sys

import requests

session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["GITHUB_TOKEN"]
conn = sqlite3.connect("plain.db")
conn.execute("CREATE TABLE IF NOT EXISTS items (repo TEXT, stream TEXT, number INTEGER, payload TEXT)")
for repo in sys.argv[1:]:
    for stream in ("issues", "pulls"):
        url = "%s/repos/%s/%s?state=all&per_page=100" % (os.environ["GITHUB_API_URL"], repo, stream)
        while url:
            response = session.get(url)
            response.raise_for_status()
            items = [item for item in response.json() if stream == "pulls" or "pull_request" not in item]
            conn.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?)",
                [(repo, stream, item["number"], json.dumps(item)) for item in items],
            )
            url = response.links.get("next", {}).get("url")
conn.commit()
