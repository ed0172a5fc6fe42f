"""Talks to SQS as its owner does, by the official client: makes the queue, and hands its messages to a function.

usage: sqs_owner.py make URL            -> {"url", "id", "secret"}: a FIFO queue, and a user who may only send to it
       sqs_owner.py take URL KEYS       -> the records of an event, as Lambda's poller hands them over
KEYS is what `make` printed: from then on the server checks each signature.
"""

import json
import sys

import boto3

REGION = "eu-central-1"


def client(service, url, keys):
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=keys["id"],
        aws_secret_access_key=keys["secret"],
    )


def make(url):
    owner = {"id": "owner", "secret": "owner"}
    iam = client("iam", url, owner)
    iam.create_user(UserName="parlor")
    allowed = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="parlor", PolicyName="queue", PolicyDocument=document)
    queue = client("sqs", url, owner).create_queue(QueueName="parlor.fifo", Attributes={"FifoQueue": "true"})
    # The last of the requests that the server lets pass unchecked.
    key = iam.create_access_key(UserName="parlor")["AccessKey"]
    return {"url": queue["QueueUrl"], "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def take(url, keys):
    sqs = client("sqs", url, keys)
    received = sqs.receive_message(
        QueueUrl=keys["url"], MaxNumberOfMessages=10, AttributeNames=["All"], WaitTimeSeconds=0
    )
    return [record(message) for message in received.get("Messages", [])]


def record(message):
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:parlor.fifo",
        "awsRegion": REGION,
    }


if __name__ == "__main__":
    action, url, *rest = sys.argv[1:]
    print(json.dumps(make(url) if action == "make" else take(url, json.loads(rest[0]))))
