"""Writes what pydicom makes of each file named on standard input in the DICOM JSON
model, one line a file; with the argument "read" it reads lines of JSON instead and
writes what it makes of them. Run by the tests of package dicom."""
import json
import sys
import warnings

import pydicom

warnings.simplefilter("ignore")

for line in sys.stdin:
    try:
        if sys.argv[1:] == ["read"]:
            ds = pydicom.Dataset.from_json(line)
        else:
            ds = pydicom.dcmread(line.rstrip("\n"), force=True)
        print(json.dumps(ds.to_json_dict()))
    except Exception as e:
        print(json.dumps({"error": type(e).__name__ + ": " + str(e)}))
    sys.stdout.flush()
