"""Owns what an archive is: objects and their keys, the local directory, uploads in threads, copy and rebuild.

Never knows the queue's rules, nor GitHub's answers.
"""
