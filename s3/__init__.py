"""Owns what S3's protocol asks for beside the SDK: checksums, signatures, and small objects by one request each.

Decides nothing: what an answer means is said in s3_writer.py. Never touches the database, and prints nothing.
"""
