"""What is inside an image, as SPDX 2.3: every Debian package and every wheel, with version and licence.

    python3 deploy/image/sbom.py --root FOLDER --bundle FOLDER --name NAME

Ends with status 65, and names them, where a package comes without a licence. Needs nothing but Python and dpkg-deb.
"""

import argparse
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

NOT_SAID = "NOASSERTION"


def debian(deb: Path, root: Path) -> dict:
    """Return a Debian package; its licences are those that its copyright file names."""
    fields = HeaderParser().parsestr(
        subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
    )
    name, source = fields["Package"], (fields["Source"] or fields["Package"]).split()[0]
    places = [root / "usr/share/doc" / folder / "copyright" for folder in (name, source)]
    text = next((place.read_text(errors="replace") for place in places if place.exists()), "")
    short = sorted(set(re.findall(r"(?m)^License: *(\S.*?) *$", text)))
    return package(
        f"deb-{name}",
        name,
        fields["Version"],
        "; ".join(short) or ("see its copyright file" if text else ""),
        f"pkg:deb/debian/{name}@{fields['Version']}?arch={fields['Architecture']}",
    )


def python(info: Path) -> dict:
    """Return a wheel, by its metadata."""
    fields = HeaderParser().parsestr((info / "METADATA").read_text())
    classified = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if line.startswith("License")]
    files = [path.name for path in info.rglob("*") if re.match(r"(?i)licen[cs]e|copying", path.name) and path.is_file()]
    first = (fields["License"] or "").strip().partition("\n")[0]
    said = fields["License-Expression"] or (first if len(first) < 80 else "") or ", ".join(classified)
    return package(
        f"pypi-{fields['Name']}",
        fields["Name"],
        fields["Version"],
        said or (f"see {files[0]}" if files else ""),
        f"pkg:pypi/{fields['Name'].lower()}@{fields['Version']}",
    )


def package(identifier: str, name: str, version: str, licence: str, purl: str) -> dict:
    """Return a package as SPDX has it; what a licence is called stands in its comment, as its authors wrote it."""
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", identifier),
        "name": name,
        "versionInfo": version,
        "downloadLocation": NOT_SAID,
        "filesAnalyzed": False,
        "licenseConcluded": NOT_SAID,
        "licenseDeclared": NOT_SAID,
        "licenseComments": licence,
        "copyrightText": NOT_SAID,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl},
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("--root", "--bundle"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    found = [debian(deb, options.root) for deb in sorted((options.bundle / "debs").glob("*.deb"))]
    found += [python(info) for info in sorted((options.root / "usr/lib/roomtone").glob("*.dist-info"))]
    if without := [one["name"] for one in found if not one["licenseComments"]]:
        print(f"image: no licence is named by {', '.join(without)}: nobody may pass these on", file=sys.stderr)
        return 65
    epoch = int((options.bundle / "EPOCH").read_text())
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": options.name,
        "documentNamespace": f"urn:roomtone:{options.name}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: roomtone"],
        },
        "packages": found,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": one["SPDXID"]}
            for one in found
        ],
    }
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
