"""Verifies a DSSE envelope with securesystemslib, an implementation that shares no code with ours.

verify_dsse.py KEYS ENVELOPE: prints the statement. Exit code 1: no key of the JSON Web Key Set signed it, or a kid is
not what docs/provenance.md says.
"""

import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey


def key(jwk):
    if (jwk["kty"], jwk["crv"]) != ("OKP", "Ed25519"):
        sys.exit(f"not an Ed25519 key of RFC 8037: {jwk}")
    raw = base64.urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4))
    spki = Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if hashlib.sha256(spki).hexdigest() != jwk["kid"]:
        sys.exit(f"kid is not the SHA-256 of the SubjectPublicKeyInfo: {jwk}")
    return SSlibKey(jwk["kid"], "ed25519", "ed25519", {"public": raw.hex()})


with open(sys.argv[1]) as file:
    keys = [key(jwk) for jwk in json.load(file)["keys"]]
with open(sys.argv[2]) as file:
    envelope = Envelope.from_dict(json.load(file))
try:
    envelope.verify(keys, 1)
except VerificationError as error:
    sys.exit(str(error))
if envelope.payload_type != "application/vnd.in-toto+json":
    sys.exit(f"not an in-toto statement: {envelope.payload_type}")
print(json.dumps(json.loads(envelope.payload)))
