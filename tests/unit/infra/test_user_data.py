"""The simulator's boot script: clean, and run against commands that only write down what they were asked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sam3edge_infra.stacks.user_data import (
    CLASSIC_URL,
    FOLDER,
    LITE_URL,
    MAX_BYTES,
    PLUGIN_URL,
    Device,
    simulator_script,
)
from sam3edge_infra.stages.stage import ClassicNucleus, LiteNucleus
from sam3edge_infra.stages.values import UNKNOWN_SHA256
from support.stub_commands import StubCommands

ROOT = Path(__file__).parents[3]
NUCLEUS, PLUGIN = b"the nucleus", b"the plugin"
DEVICE = Device(
    region="eu-central-1",
    template="sam3edge-dev",
    role_alias="sam3edge-dev-devices",
    serial="simulator",
    group="sam3edge-dev-canary",
    table="sam3edge-dev-devices",
    scenes="s3://assets/scenes.zip",
)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CLASSIC = ClassicNucleus(kind="classic", sha256=digest(NUCLEUS), plugin_sha256=digest(PLUGIN))
LITE = LiteNucleus(kind="lite", sha256=digest(NUCLEUS))
CLAIM = {"certificateId": "c", "certificatePem": "CERTIFICATE\n", "keyPair": {"PublicKey": "p", "PrivateKey": "KEY\n"}}

CURL = """
while [ "$1" != --output ]; do shift; done
case "$3" in *.jar) printf 'the plugin' >"$2" ;; *) printf 'the nucleus' >"$2" ;; esac
"""
AWS = f"""
case "$*" in
  *create-provisioning-claim*) cat <<'JSON'
{json.dumps(CLAIM)}
JSON
  ;;
  *CredentialProvider*) echo credentials.example.org ;;
  *describe-endpoint*) echo data.example.org ;;
  "s3 cp"*) printf zip >"${{@: -1}}" ;;
esac
"""
UNZIP = """
while [ "$1" != -d ]; do zip=$1; shift; done
mkdir -p "$2/lib"
case "$zip" in
  *scenes.zip) printf a >"$2/scene-01.jpg"; printf b >"$2/scene-02.jpg" ;;
  *) printf jar >"$2/lib/Greengrass.jar"; printf deb >"$2/aws-greengrass-lite-2.6.0-Linux.deb" ;;
esac
"""


class Host:
    """A host whose files are below a folder and whose commands are stubs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.stubs = StubCommands(folder / "bin", folder / "calls.log")
        for name in ("apt-get", "snap", "systemctl", "java", "getent", "groupadd", "useradd", "fleet-provisioning"):
            self.stubs.add(name)
        self.stubs.add("curl", CURL)
        self.stubs.add("aws", AWS)
        self.stubs.add("unzip", UNZIP)
        authority = self.root / "usr/share/ca-certificates/mozilla/Amazon_Root_CA_1.crt"
        authority.parent.mkdir(parents=True)
        authority.write_text("ROOT CA", encoding="utf-8")

    def boot(self, nucleus: ClassicNucleus | LiteNucleus) -> subprocess.CompletedProcess[str]:
        script = self.root.parent / "user-data.sh"
        script.write_text(simulator_script(nucleus, DEVICE), encoding="utf-8")
        return self.stubs.run(script, SAM3EDGE_ROOT=str(self.root))

    def commands(self) -> list[str]:
        """Names of the commands, and of aws what it was asked for."""
        return [" ".join(call.split()[: 3 if call.startswith("aws") else 1]) for call in self.stubs.calls()]

    def configuration(self, path: str) -> Any:
        return yaml.safe_load((self.root / path).read_text(encoding="utf-8"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("nucleus", [CLASSIC, LITE], ids=["classic", "lite"])
def test_shellcheck_finds_nothing(nucleus: ClassicNucleus | LiteNucleus, tmp_path: Path) -> None:
    rendered = tmp_path / "user-data.sh"
    rendered.write_text(simulator_script(nucleus, DEVICE), encoding="utf-8")
    scripts = [str(path) for path in FOLDER.glob("*.sh")] + [str(rendered)]
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_classic_nucleus_is_checked_before_anything_and_installed_with_its_plugin(host: Host) -> None:
    booted = host.boot(CLASSIC)
    assert booted.returncode == 0, booted.stderr
    assert host.commands() == [
        "curl",
        "curl",
        "apt-get",
        "apt-get",
        "aws s3 cp",
        "unzip",
        "systemctl",
        "systemctl",
        "getent",
        "getent",
        "systemctl",
        "systemctl",
        "unzip",
        "aws iot describe-endpoint",
        "aws iot describe-endpoint",
        "aws dynamodb put-item",
        "aws iot create-provisioning-claim",
        "java",
    ]
    calls = host.stubs.calls()
    assert calls[0].endswith("https://d2s8p88vqu9w66.cloudfront.net/releases/greengrass-2.18.1.zip")
    assert calls[1].endswith(PLUGIN_URL)
    assert all("--proto =https" in call for call in calls[:2])
    assert "openjdk-21-jre-headless" in calls[3]
    assert "--trusted-plugin" in calls[-1]
    assert "--setup-system-service true" in calls[-1]
    services = host.configuration("var/lib/sam3edge/simulator/work/nucleus/config.yaml")["services"]
    assert services["aws.greengrass.Nucleus"]["version"] == "2.18.1"
    told = services["aws.greengrass.FleetProvisioningByClaim"]["configuration"]
    assert told["provisioningTemplate"] == DEVICE.template
    assert told["iotRoleAlias"] == DEVICE.role_alias
    assert told["iotDataEndpoint"] == "data.example.org"
    assert told["iotCredentialEndpoint"] == "credentials.example.org"
    assert told["templateParameters"] == {"SerialNumber": "simulator"}
    assert Path(told["claimCertificatePath"]).read_text(encoding="utf-8") == "CERTIFICATE\n"
    assert Path(told["claimCertificatePrivateKeyPath"]).read_text(encoding="utf-8") == "KEY\n"
    assert Path(told["claimCertificatePrivateKeyPath"]).stat().st_mode & 0o077 == 0
    assert Path(told["rootCaPath"]).read_text(encoding="utf-8") == "ROOT CA"


def test_nucleus_lite_is_provisioned_by_its_own_program_and_the_claim_goes(host: Host) -> None:
    booted = host.boot(LITE)
    assert booted.returncode == 0, booted.stderr
    commands = host.commands()
    assert commands.count("curl") == 1
    assert "java" not in commands
    assert host.stubs.calls()[0].endswith("/v2.6.0/aws-greengrass-lite-ubuntu-x86-64.zip")
    assert commands[-4:] == ["systemctl", "systemctl", "fleet-provisioning", "systemctl"]
    assert any(call.startswith("apt-get install") and call.endswith("Linux.deb") for call in host.stubs.calls())
    written = host.configuration("etc/greengrass/config.yaml")
    told = written["services"]["aws.greengrass.fleet_provisioning"]["configuration"]
    assert told["templateName"] == DEVICE.template
    assert told["templateParams"] == {"SerialNumber": "simulator"}
    assert written["services"]["aws.greengrass.NucleusLite"]["configuration"]["iotRoleAlias"] == DEVICE.role_alias
    assert written["system"]["thingName"] == ""
    assert not (host.root / "etc/greengrass/claim").exists()


def test_the_device_expects_itself_in_its_group_before_it_claims(host: Host) -> None:
    host.boot(CLASSIC)
    [put] = [call for call in host.stubs.calls() if "put-item" in call]
    assert f"--table-name {DEVICE.table}" in put
    item = json.loads(put.split("--item ")[1])
    assert 3000 < int(item.pop("expires")["N"]) - time.time() <= 3600
    assert item == {"serial": {"S": "simulator"}, "group": {"S": DEVICE.group}}


@pytest.mark.parametrize("nucleus", [CLASSIC, LITE], ids=["classic", "lite"])
def test_components_do_not_reach_the_hosts_credentials_from_the_first_on(
    host: Host, nucleus: ClassicNucleus | LiteNucleus
) -> None:
    host.stubs.add("getent", "exit 2")  # an image without the user that components run as
    assert host.boot(nucleus).returncode == 0
    calls = host.stubs.calls()
    closed = calls.index("systemctl enable --now sam3edge-metadata.service")
    assert calls.index("useradd --system -g ggc_group ggc_user") < closed
    started = "java " if nucleus.kind == "classic" else "systemctl start greengrass-lite.target"
    assert closed < next(number for number, call in enumerate(calls) if call.startswith(started))
    unit = (host.root / "etc/systemd/system/sam3edge-metadata.service").read_text(encoding="utf-8")
    [line] = [one for one in unit.splitlines() if one.startswith("ExecStart=")]
    rules = Path(line.split()[-1]).read_text(encoding="utf-8")
    assert {"ip daddr 169.254.169.254", "ip6 daddr fd00:ec2::254"} == set(
        re.findall(r"meta skuid ggc_user (.+) reject", rules)
    )
    assert "WantedBy=multi-user.target" in unit  # after a restart of the host, too
    assert any(call.startswith("apt-get install") and " nftables " in call for call in calls)


@pytest.mark.parametrize("wrong", ["sha256", "plugin_sha256"])
def test_another_digest_stops_before_anything_is_installed(host: Host, wrong: str) -> None:
    booted = host.boot(CLASSIC.model_copy(update={wrong: UNKNOWN_SHA256}))
    assert booted.returncode != 0
    assert re.search(
        r"expected the SHA-256 0{64} of https://\S+, got [0-9a-f]{64}; nothing was installed", booted.stderr
    )
    assert set(host.commands()) == {"curl"}
    work = host.root / "var/lib/sam3edge/simulator/work"
    assert {path.name for path in work.iterdir()} <= {"nucleus.zip"}
    assert (wrong == "sha256") == (not (work / "nucleus.zip").exists())


def test_the_guide_says_where_to_get_what_has_a_digest() -> None:
    page = (ROOT / "infra" / "devices.md").read_text(encoding="utf-8")
    urls = (CLASSIC_URL.format(version=CLASSIC.version), PLUGIN_URL, LITE_URL.format(version=LITE.version))
    assert all(f"curl -sL {url} | sha256sum" in page for url in urls)


@pytest.mark.parametrize("nucleus", [CLASSIC, LITE], ids=["classic", "lite"])
def test_a_second_boot_does_nothing_twice(host: Host, nucleus: ClassicNucleus | LiteNucleus) -> None:
    host.boot(nucleus)
    before = host.stubs.calls()
    assert host.boot(nucleus).returncode == 0
    assert host.stubs.calls() == before


def test_a_failed_step_is_done_again_and_those_before_it_are_not(host: Host) -> None:
    host.stubs.add("java", "exit 1")
    assert host.boot(CLASSIC).returncode != 0
    before = len(host.stubs.calls())
    host.stubs.add("java")
    assert host.boot(CLASSIC).returncode == 0
    again = host.commands()[before:]
    assert again[0] == "unzip"
    assert again[-2:] == ["aws iot create-provisioning-claim", "java"]
    assert "apt-get" not in again


def test_the_command_line_of_aws_is_installed_where_the_image_lacks_it(host: Host) -> None:
    real = host.stubs.folder / "aws"
    kept = real.rename(host.root / "aws-of-snap")
    host.stubs.add("snap", f'mv "{kept}" "{real}"')
    assert host.boot(CLASSIC).returncode == 0
    assert "snap install aws-cli --classic" in host.stubs.calls()


def test_an_image_without_amazons_root_certificate_is_refused(host: Host) -> None:
    (host.root / "usr/share/ca-certificates/mozilla/Amazon_Root_CA_1.crt").unlink()
    booted = host.boot(CLASSIC)
    assert booted.returncode != 0
    assert "expected Amazon's root certificate" in booted.stderr
    assert host.commands() == []


def test_the_feeder_gives_one_scene_at_a_time_under_new_names_for_ever(host: Host) -> None:
    host.boot(CLASSIC)
    unit = (host.root / "etc/systemd/system/sam3edge-feed.service").read_text(encoding="utf-8")
    [line] = [one for one in unit.splitlines() if one.startswith("ExecStart=")]
    watched = host.root / "var/lib/sam3edge/images"
    seen = []
    for _ in range(3):
        subprocess.run(line.removeprefix("ExecStart=").split(), check=True)
        [new] = [path for path in sorted(watched.iterdir()) if path not in seen]
        seen.append(new)
    assert [path.name for path in seen] == [
        "fed-00000000-scene-01.jpg",
        "fed-00000001-scene-02.jpg",
        "fed-00000002-scene-01.jpg",
    ]
    timer = (host.root / "etc/systemd/system/sam3edge-feed.timer").read_text(encoding="utf-8")
    assert "OnUnitActiveSec=30" in timer


def test_the_feeder_removes_what_is_an_hour_old_and_nothing_of_others(tmp_path: Path) -> None:
    scenes, watched = tmp_path / "scenes", tmp_path / "watched"
    scenes.mkdir()
    watched.mkdir()
    (scenes / "one.jpg").write_bytes(b"1")
    for name in ("fed-00000000-one.jpg", "mine.jpg"):
        (watched / name).write_bytes(b"old")
        os.utime(watched / name, (0, 0))
    subprocess.run([FOLDER / "feed.sh", scenes, watched, tmp_path / "state"], check=True)
    (tmp_path / "state").write_text("1\n", encoding="utf-8")
    subprocess.run([FOLDER / "feed.sh", scenes, watched, tmp_path / "state"], check=True)
    assert {path.name for path in watched.iterdir()} == {"mine.jpg", "fed-00000000-one.jpg", "fed-00000001-one.jpg"}


def test_the_feeder_says_when_there_are_no_scenes(tmp_path: Path) -> None:
    ran = subprocess.run(
        [FOLDER / "feed.sh", tmp_path, tmp_path, tmp_path / "state"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "expected images" in ran.stderr


def test_a_stage_without_a_digest_gets_no_script() -> None:
    with pytest.raises(ValueError, match=r"expected nucleus\.sha256"):
        simulator_script(CLASSIC.model_copy(update={"sha256": None}), DEVICE)
    with pytest.raises(ValueError, match=r"expected nucleus\.plugin_sha256"):
        simulator_script(CLASSIC.model_copy(update={"plugin_sha256": None}), DEVICE)


def test_values_are_quoted_and_the_script_fits(tmp_path: Path) -> None:
    script = simulator_script(CLASSIC, Device(**{**_fields(DEVICE), "group": "it's $(touch x)"}))
    assert len(script.encode()) <= MAX_BYTES
    rendered = tmp_path / "head.sh"
    head = script.split("\nset -euo pipefail\n")[0]
    rendered.write_text(f'{head}\nprintf %s "$THING_GROUP"\n', encoding="utf-8")
    said = subprocess.run(["/bin/bash", rendered], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout == "it's $(touch x)"
    assert not (tmp_path / "x").exists()


def _fields(device: Device) -> dict[str, Any]:
    return {name: getattr(device, name) for name in Device.__dataclass_fields__}
