"""Owns who asks GitHub: nobody, a token, an App's installation; and where a login's token comes from.

Never decides what is asked, nor how often; prints nothing.
"""
