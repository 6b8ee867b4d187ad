"""What the tests' GitHub holds and how it shows it, a module a matter: see github_server.py and github_data.py."""
