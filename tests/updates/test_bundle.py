"""What is verified of a bundle before anything in it runs; OpenSSL's own command signs, as in deploy/bundle.sh."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ArtifactError, ConfigError
from edge.model import signatures
from edge.updates.bundle import verify
from tests.support.bundles import seal
from tests.support.sounds import ROOT


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return signatures.keygen(tmp_path / "mine")


@pytest.fixture
def bundle(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A signed one."""
    folder = tmp_path / "roomtone-9.0.0"
    for name in ("deploy/install.sh", "wheels/roomtone-9.0.0-py3-none-any.whl", "VERSION"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    seal(folder, keys[0])
    return folder


def configuration(folder: Path, *trusted: Path, more: str = "") -> str:
    path = folder / f"{'-'.join(key.stem for key in trusted) or 'nobody'}.yaml"
    path.write_text(f"edge: {{model_store: {{trusted_keys: {[str(key) for key in trusted]}{more}}}}}\n")
    return str(path)


def said(bundle: Path, *configurations: str) -> list[str]:
    return list(verify(bundle, configurations))


def test_one_that_a_trusted_key_signed_is_taken_and_says_which(bundle, keys, tmp_path):
    trusting = configuration(tmp_path, keys[1])
    assert said(bundle, trusting) == [f"roomtone-9.0.0: signed by {keys[1]}"]
    other = signatures.keygen(tmp_path / "other")
    assert said(bundle, configuration(tmp_path, other[1], keys[1])) == [f"roomtone-9.0.0: signed by {keys[1]}"]


def test_one_that_nobody_signed_is_taken_where_no_key_is_trusted_alone(bundle, keys, tmp_path):
    seal(bundle, None)
    assert said(bundle, configuration(tmp_path)) == []
    for allowed in ("", ", allow_unsigned: true"):  # which is said of models
        trusting = configuration(tmp_path, keys[1], more=allowed)
        with pytest.raises(ArtifactError, match=r"roomtone-9\.0\.0: not signed, and .*mine\.yaml has .*trusted_keys"):
            said(bundle, trusting)


def test_every_room_that_trusts_keys_must_trust_one_of_its_signer(bundle, keys, tmp_path):
    other = signatures.keygen(tmp_path / "other")
    mine, nobody, theirs = (configuration(tmp_path, *keys) for keys in ((keys[1],), (), (other[1],)))
    assert len(said(bundle, nobody, mine)) == 1
    with pytest.raises(ArtifactError, match=r"other\.yaml: signed by none of the trusted keys \(.*other\.pub\)"):
        said(bundle, mine, nobody, theirs)


@pytest.mark.parametrize("trusting", [True, False], ids=["a key is trusted", "none is"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda bundle: (bundle / "deploy/install.sh").write_text("echo mine\n"), r"deploy/install\.sh was changed"),
        (lambda bundle: (bundle / "VERSION").unlink(), "VERSION is missing"),
        (lambda bundle: (bundle / "wheels/more-1.whl").touch(), r"wheels/more-1\.whl is none of its files"),
        (lambda bundle: (bundle / "wheels/more").symlink_to("/etc"), "wheels/more is none of its files"),
        (lambda bundle: ((bundle / "VERSION").unlink(), (bundle / "VERSION").symlink_to("/etc/hostname")),
         "VERSION is none of its files"),
        (lambda bundle: os.mkfifo(bundle / "deploy/pipe"), "deploy/pipe is none of its files"),
        (lambda bundle: (bundle / "SHA256SUMS").unlink(), "SHA256SUMS: cannot be read"),
        (lambda bundle: ((bundle / "SHA256SUMS").unlink(), (bundle / "SHA256SUMS").symlink_to("VERSION")),
         "SHA256SUMS is a link"),
    ],
    ids=["changed", "less", "more", "a link to a folder", "a link to a file", "a pipe", "no list", "a linked list"],
)
def test_one_that_is_not_as_it_was_made_is_refused_and_says_where(bundle, keys, tmp_path, change, says, trusting):
    change(bundle)
    with pytest.raises(ArtifactError, match=f"bundle roomtone-9.0.0: {says}"):
        said(bundle, configuration(tmp_path, *[keys[1]] * trusting))


def test_one_that_was_changed_and_listed_anew_has_no_signature_any_more(bundle, keys, tmp_path):
    signature = (bundle / "SHA256SUMS.sig").read_bytes()
    (bundle / "deploy/install.sh").write_text("echo mine\n")
    seal(bundle, None)
    (bundle / "SHA256SUMS.sig").write_bytes(signature)
    with pytest.raises(ArtifactError, match="signed by none of the trusted keys"):
        said(bundle, configuration(tmp_path, keys[1]))


@pytest.mark.parametrize("words", ["", "roomtone model, SHA-256 of graph and manifest: "], ids=["bare", "a model's"])
def test_a_signature_of_another_text_is_none(bundle, keys, tmp_path, words):
    seal(bundle, keys[0], words)
    with pytest.raises(ArtifactError, match="signed by none of the trusted keys"):
        said(bundle, configuration(tmp_path, keys[1]))


@pytest.mark.parametrize("line", ["0 ./VERSION", f"{'0' * 64}  /etc/passwd", f"\\{'0' * 64}  ./a\\nb"])
def test_a_list_that_is_none_is_refused(bundle, tmp_path, line):
    with (bundle / "SHA256SUMS").open("a") as sums:
        sums.write(f"{line}\n")
    with pytest.raises(ArtifactError, match="SHA256SUMS is damaged"):
        said(bundle, configuration(tmp_path))


def test_a_key_or_a_configuration_that_cannot_be_read_lets_nothing_in(bundle, tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.pub: cannot be read"):
        said(bundle, configuration(tmp_path, tmp_path / "gone.pub"))
    (tmp_path / "config.yaml").write_text("edge: {model_store: {trusted_key: []}}\n")
    with pytest.raises(ConfigError, match="trusted_key"):
        said(bundle, str(tmp_path / "config.yaml"))


def test_sign_sh_signs_a_packed_one_and_replaces_what_it_had(bundle, keys, tmp_path):
    seal(bundle, None)
    packed, other = tmp_path / "bundle.tar", signatures.keygen(tmp_path / "other")
    subprocess.run(["tar", "-cf", packed, "-C", tmp_path, bundle.name], check=True)
    for key in (other[0], keys[0]):
        subprocess.run([ROOT / "deploy/sign.sh", packed, key], check=True)
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "-xf", packed, "-C", tmp_path / "there"], check=True)
    assert said(tmp_path / "there" / bundle.name, configuration(tmp_path, keys[1]))
    names = subprocess.run(["tar", "-tf", packed], check=True, capture_output=True, text=True).stdout.split()
    assert names.count("roomtone-9.0.0/SHA256SUMS.sig") == 1
    assert not packed.with_name("bundle.tar.new").exists()


def test_sign_sh_says_what_is_no_key_and_what_no_bundle(bundle, keys, tmp_path):
    packed = tmp_path / "bundle.tar"
    packed.write_text("sound")
    for key, status, says in ((keys[1], 66, "mine.pub: not a private key"), (tmp_path, 66, "not a private key"),
                              (keys[0], 65, "bundle.tar: no bundle")):  # fmt: skip
        done = subprocess.run([ROOT / "deploy/sign.sh", packed, key], capture_output=True, text=True)
        assert (done.returncode, says in done.stderr) == (status, True), done.stderr
    assert packed.read_text() == "sound"


def test_as_the_installer_calls_it_it_says_so_in_a_line_and_by_its_status(bundle, keys, tmp_path):
    def run(*configurations: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.updates.bundle", bundle, *configurations]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = run(configuration(tmp_path, keys[1]))
    assert (done.returncode, done.stdout) == (0, f"roomtone: roomtone-9.0.0: signed by {keys[1]}\n")
    (bundle / "VERSION").write_text("mine\n")
    done = run(configuration(tmp_path, keys[1]))
    line = "roomtone: bundle roomtone-9.0.0: VERSION was changed since it was made: copy it again\n"
    assert (done.returncode, done.stderr) == (65, line)
    assert run(configuration(tmp_path, tmp_path / "gone.pub")).returncode == 78
