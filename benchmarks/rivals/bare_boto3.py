"""The cheapest upload that a person would write: put_object from so many threads; no queue, no table, no checks."""

import concurrent.futures
import sys

import boto3
from botocore.config import Config

bucket, threads = sys.argv[1], int(sys.argv[2])
client = boto3.client("s3", config=Config(max_pool_connections=threads))
with open("payloads.jsonl", "rb") as lines, concurrent.futures.ThreadPoolExecutor(threads) as pool:
    uploads = [
        pool.submit(client.put_object, Bucket=bucket, Key=f"bare/{number}.json", Body=line)
        for number, line in enumerate(lines)
    ]
for upload in uploads:
    upload.result()
