"""Answers one question about an S3 server, by boto3.

    s3.py URL ACCESS_KEY SECRET_KEY QUESTION

The question is an object in JSON, and so is the answer.
"""

import json
import os
import sys

import boto3
from botocore.config import Config

url, access_key, secret_key, question = sys.argv[1:]
question = json.loads(question)
s3 = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="us-east-1",
    aws_access_key_id=access_key,
    aws_secret_access_key=secret_key,
    verify=False,
    config=Config(
        s3={"addressing_style": "path"},
        retries={"max_attempts": 2},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)
bucket = question["bucket"]
answer = None
if question["do"] == "make":
    s3.create_bucket(Bucket=bucket)
elif question["do"] == "put":
    s3.put_object(Bucket=bucket, Key=question["key"], Body=question["text"].encode())
elif question["do"] == "delete":
    s3.delete_object(Bucket=bucket, Key=question["key"])
elif question["do"] == "unfinished":
    answer = len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))
elif question["do"] == "all":
    answer = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            key = found["Key"]
            head = s3.head_object(Bucket=bucket, Key=key)
            file = os.path.join(question["folder"], str(len(answer)))
            cold = head.get("StorageClass", "STANDARD") in ("GLACIER", "DEEP_ARCHIVE")
            with open(file, "wb") as out:
                if not cold:
                    for piece in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
                        out.write(piece)
            answer[key] = {
                "file": file,
                "metadata": head["Metadata"],
                "class": head.get("StorageClass", "STANDARD"),
                "encryption": head.get("ServerSideEncryption", ""),
                "modified": head["LastModified"].timestamp(),
            }
json.dump(answer, sys.stdout)
