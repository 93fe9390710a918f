"""As much of clickhouse-client as the make targets use; from inside the container only."""

import argparse
import sys
import urllib.error
import urllib.parse
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--query", "-q")
parser.add_argument("--database", "-d", default="default")
options = parser.parse_args()
query = options.query or sys.stdin.read()
if not query.strip():
    sys.exit(0)
parameters = urllib.parse.urlencode({"database": options.database})
try:
    answer = urllib.request.urlopen(f"http://127.0.0.1:8124/?{parameters}", query.encode(), 60)
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())
except urllib.error.URLError as error:
    sys.exit(str(error))
sys.stdout.write(answer.read().decode())
