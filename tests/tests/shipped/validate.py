"""Reads what `kubectl kustomize` printed, holds each object to the schemas of each version given, and prints them as JSON.

    python3 validate.py VERSION... <objects.yaml >objects.json

A schema is strict: a field that it does not know is an error. One that is not met is a line on stderr, and exit code 1.
"""
import functools
import json
import sys

import yaml
from kubernetes_validate import utils

# The schemas of a version are megabytes, and the same for each object.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)

objects = [one for one in yaml.safe_load_all(sys.stdin) if one is not None]
bad = 0
for one in objects:
    for version in sys.argv[1:]:
        try:
            met = utils.validate(one, version, strict=True)
            if not version.startswith(met):
                raise LookupError(f"there are no schemas of {version}, the newest are of {met}")
        except Exception as error:
            bad += 1
            reason = getattr(error, "message", None) or str(error)
            path = ".".join(str(part) for part in getattr(error, "absolute_path", []))
            print(f"{one.get('kind')} {one.get('metadata', {}).get('name')} in {version}: {path}: {reason[:400]}", file=sys.stderr)
json.dump(objects, sys.stdout)
sys.exit(1 if bad else 0)
