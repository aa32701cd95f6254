"""Signatures of models; OpenSSL's own command is the oracle."""

import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.errors import ArtifactError, ConfigError, InputError
from edge.model import signatures
from edge.model.artifact import DIGEST, SIGNATURE, read_artifact, signed, unpack
from edge.model.runtime import interpreter
from tests.support.artifacts import DEFAULT
from tests.support.system import require_program

MESSAGE = "roomtone model, SHA-256 of graph and manifest: "  # what is signed, in words: see the threat model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(DEFAULT.read_bytes())
    return path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return signatures.keygen(tmp_path / "mine")


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([require_program("openssl", "openssl"), *arguments], capture_output=True, text=True)


def test_openssl_reads_the_keys_and_verifies_the_signature(model, keys, tmp_path):
    private, public = keys
    signatures.sign(model, private)
    with zipfile.ZipFile(model) as box:
        (tmp_path / "signature").write_bytes(box.read(SIGNATURE))
        (tmp_path / "message").write_text(MESSAGE + box.read(DIGEST).decode())
    verify = ("pkeyutl", "-verify", "-rawin", "-in", tmp_path / "message", "-sigfile", tmp_path / "signature")
    assert openssl(*verify, "-pubin", "-inkey", public).returncode == 0
    assert "ED25519" in openssl("pkey", "-in", private, "-text", "-noout").stdout
    assert openssl("pkey", "-in", private, "-pubout").stdout == public.read_text()


def test_a_signature_of_openssl_is_accepted(model, keys, tmp_path):
    private, public = keys
    (tmp_path / "message").write_text(MESSAGE + read_artifact(model).digest)
    done = openssl("pkeyutl", "-sign", "-rawin", "-in", tmp_path / "message", "-inkey", private,
                   "-out", tmp_path / "signature")  # fmt: skip
    assert done.returncode == 0, done.stderr
    model.write_bytes(signed(model.read_bytes(), (tmp_path / "signature").read_bytes()))
    assert signatures.verify(read_artifact(model), [public]) == str(public)


def test_signing_changes_nothing_but_the_signature_and_the_graph_still_loads(model, keys):
    before = read_artifact(model)
    after = signatures.sign(model, keys[0])
    assert (after.graph, after.manifest, after.digest) == (before.graph, before.manifest, before.digest)
    assert (before.signature, len(after.signature)) == (None, 64)
    once = model.read_bytes()
    signatures.sign(model, keys[0])
    assert model.read_bytes() == once
    assert interpreter(once).get_signature_list()


def test_the_last_signature_counts_and_any_of_the_trusted_keys_will_do(model, keys, tmp_path):
    other = signatures.keygen(tmp_path / "other")
    signatures.sign(model, keys[0])
    signatures.sign(model, other[0])
    found = read_artifact(model)
    assert signatures.verify(found, [keys[1], other[1]]) == str(other[1])
    with pytest.raises(ArtifactError, match="signed by none of the trusted keys"):
        signatures.verify(found, [keys[1]])
    with pytest.raises(ArtifactError, match="there are none"):
        signatures.verify(found, [])


def test_unsigned_is_refused(model, keys):
    with pytest.raises(ArtifactError, match="not signed"):
        signatures.verify(read_artifact(model), [keys[1]])


def test_a_signature_of_another_model_or_of_another_text_is_refused(model, keys, tmp_path):
    other = unpack(Path("tests/data/tiny-window.tflite").read_bytes())
    (tmp_path / "bare").write_text(read_artifact(model).digest)
    openssl("pkeyutl", "-sign", "-rawin", "-in", tmp_path / "bare", "-inkey", keys[0], "-out", tmp_path / "signature")
    elsewhere = tmp_path / "other.tflite"
    elsewhere.write_bytes(Path("tests/data/tiny-window.tflite").read_bytes())
    theirs = signatures.sign(elsewhere, keys[0])
    assert theirs.digest == other.digest
    for signature in (theirs.signature, (tmp_path / "signature").read_bytes(), bytes(64)):
        found = unpack(signed(model.read_bytes(), signature))
        with pytest.raises(ArtifactError, match="signed by none"):
            signatures.verify(found, [keys[1]])


def test_every_altered_byte_of_a_signed_model_is_noticed(model, keys):
    """Every 97th byte of the file, and every one of the zip at its end."""
    signatures.sign(model, keys[0])
    data = model.read_bytes()
    zipped = len(data) - len(unpack(data).graph)
    harmless = []
    for at in [*range(0, len(data) - zipped, 97), *range(len(data) - zipped, len(data))]:
        try:
            found = unpack(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            signatures.verify(found, [keys[1]])
        except ArtifactError:
            continue
        # What is left are the zip's own dates and attributes: what counts is as it was.
        harmless.append(at)
        original = unpack(data)
        assert (found.graph, found.manifest, found.digest) == (original.graph, original.manifest, original.digest)
    assert all(at >= len(data) - zipped for at in harmless)


@pytest.mark.parametrize("size", [0, 63, 65, 4_000])
def test_a_signature_of_impossible_size_is_refused(model, size):
    with pytest.raises(ArtifactError, match=r"signature|signed by none"):
        signatures.verify(unpack(signed(model.read_bytes(), bytes(size))), [signatures.keygen(model.parent / "any")[1]])


def test_keys_are_private_and_never_overwritten(keys, tmp_path):
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(InputError, match=r"mine\.key: exists already"):
        signatures.keygen(tmp_path / "mine")
    private.unlink()
    with pytest.raises(InputError, match=r"mine\.pub: exists already"):
        signatures.keygen(tmp_path / "mine")
    assert public.read_bytes() == before[1]


def test_keys_that_are_none_are_named(model, keys, tmp_path):
    rsa = tmp_path / "rsa.pem"
    openssl("genrsa", "-out", rsa, "2048")
    openssl("rsa", "-in", rsa, "-pubout", "-out", tmp_path / "rsa.pub")
    gone = tmp_path / "gone"
    for file, says in ((keys[1], "not a private key"), (rsa, "not an Ed25519 key"), (gone, "No such file")):
        with pytest.raises(InputError, match=says):
            signatures.sign(model, file)
    signatures.sign(model, keys[0])
    rsa = tmp_path / "rsa.pub"
    for file, says in ((keys[0], "not a public key"), (rsa, "not an Ed25519 key"), (tmp_path, "a folder")):
        with pytest.raises(ConfigError, match=rf"edge.model_store.trusted_keys: {file}: .*{says}"):
            signatures.verify(read_artifact(model), [file])


def test_without_a_signature_to_look_at_cryptography_is_not_imported():
    script = "import sys, edge.daemon.run; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
