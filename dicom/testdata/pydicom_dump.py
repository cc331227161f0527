"""Writes what pydicom reads of each file named on standard input: one line of
JSON a file, with every element in its order. Run by the tests of package dicom."""
import base64
import json
import sys
import warnings

import pydicom
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

warnings.simplefilter("ignore")


def texts(elem):
    v = elem.value
    if v is None or elem.VM == 0:
        return []
    if not isinstance(v, (MultiValue, list, tuple)):
        v = [v]
    out = []
    for x in v:
        if elem.VR == "AT":
            out.append("%08X" % int(x))
        elif isinstance(getattr(x, "original_string", None), str):
            out.append(str(x.original_string).strip(" "))
        else:
            out.append(str(x))
    return out


def dump(ds):
    out = []
    for key in sorted(ds.keys()):
        elem = ds[key]
        e = {"tag": "%08X" % int(elem.tag), "vr": elem.VR}
        if elem.VR == "SQ":
            e["items"] = [dump(item) for item in elem.value]
        elif isinstance(elem.value, (bytes, bytearray)):
            e["bytes"] = base64.b64encode(elem.value).decode()
        elif elem.VR in ("FL", "FD") and elem.VM:
            v = elem.value if isinstance(elem.value, (MultiValue, list)) else [elem.value]
            e["numbers"] = list(v)
        else:
            e["texts"] = texts(elem)
        out.append(e)
    return out


for line in sys.stdin:
    name = line.rstrip("\n")
    answer = {}
    try:
        try:
            ds = pydicom.dcmread(name)
        except pydicom.errors.InvalidDicomError as e:
            answer["complaint"] = str(e)
            ds = pydicom.dcmread(name, force=True)
        answer["meta"] = dump(ds.file_meta)
        answer["syntax"] = str(ds.file_meta.get("TransferSyntaxUID", ""))
        answer["implicit"] = ds.is_implicit_VR
        answer["data"] = dump(ds)
    except Exception as e:
        answer["error"] = type(e).__name__ + ": " + str(e)
    print(json.dumps(answer), flush=True)
