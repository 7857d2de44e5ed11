#!/usr/bin/env bash
# Makes an Ubuntu 24.04 host a core device. Run again (a second boot, or by hand), it goes on with the first step that was
# not completed. What it is told comes from its environment, see __init__.py; FEED is feed.sh in base64.
set -euo pipefail
: "${REGION:?}" "${NUCLEUS:?}" "${NUCLEUS_VERSION:?}" "${NUCLEUS_URL:?}" "${NUCLEUS_SHA256:?}" "${PLUGIN_URL?}"
: "${PLUGIN_SHA256?}" "${TEMPLATE:?}" "${ROLE_ALIAS:?}" "${SERIAL:?}" "${THING_GROUP:?}" "${DEVICES_TABLE:?}"
: "${SCENES:?}" "${FEED_SECONDS:?}" "${FEED:?}"
root=${SAM3EDGE_ROOT:-} # of the file system; a test has one of its own
state=$root/var/lib/sam3edge/simulator
work=$state/work
authority=$root/usr/share/ca-certificates/mozilla/Amazon_Root_CA_1.crt
export AWS_DEFAULT_REGION=$REGION DEBIAN_FRONTEND=noninteractive

fail() {
  echo "$1" >&2
  exit 1
}

# once STEP COMMAND...: a step that was completed is not done again
once() {
  local step=$1
  shift
  if [ -e "$state/$step.done" ]; then return; fi
  "$@"
  touch "$state/$step.done"
}

# fetch URL SHA256 FILE: nothing is left under that name that has another digest
fetch() {
  local url=$1 expected=$2 file=$3 got
  curl --fail --silent --show-error --location --proto '=https' --retry 5 --output "$file.part" "$url"
  got=$(sha256sum "$file.part" | cut -d ' ' -f 1)
  if [ "$got" != "$expected" ]; then
    rm "$file.part"
    fail "expected the SHA-256 $expected of $url, got $got; nothing was installed"
  fi
  mv "$file.part" "$file"
}

download() {
  fetch "$NUCLEUS_URL" "$NUCLEUS_SHA256" "$work/nucleus.zip"
  if [ -n "$PLUGIN_URL" ]; then fetch "$PLUGIN_URL" "$PLUGIN_SHA256" "$work/plugin.jar"; fi
}

install_packages() {
  local packages=(unzip nftables python3-venv python3-pip)
  if [ "$NUCLEUS" = classic ]; then packages+=(openjdk-21-jre-headless); fi
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${packages[@]}"
  if ! command -v aws >/dev/null; then snap install aws-cli --classic; fi
}

install_feeder() {
  local scenes=$root/var/lib/sam3edge/scenes watched=$root/var/lib/sam3edge/images program=$root/usr/local/lib/sam3edge
  mkdir -p "$scenes" "$watched" "$program" "$root/etc/systemd/system"
  aws s3 cp --only-show-errors "$SCENES" "$work/scenes.zip"
  unzip -q -o "$work/scenes.zip" -d "$scenes"
  base64 --decode <<<"$FEED" >"$program/feed.sh"
  chmod 0755 "$program/feed.sh"
  cat >"$root/etc/systemd/system/sam3edge-feed.service" <<UNIT
[Unit]
Description=The next scene into the watched folder

[Service]
Type=oneshot
ExecStart=$program/feed.sh $scenes $watched $state/fed
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$root/var/lib/sam3edge
UNIT
  cat >"$root/etc/systemd/system/sam3edge-feed.timer" <<UNIT
[Unit]
Description=Scenes for the device

[Timer]
OnBootSec=60
OnUnitActiveSec=$FEED_SECONDS
AccuracySec=1

[Install]
WantedBy=timers.target
UNIT
  systemctl daemon-reload
  systemctl enable --now sam3edge-feed.timer
}

# components run as ggc_user: they get the device's credentials of the nucleus, and must not get the host's of EC2
install_user() {
  local program=$root/usr/local/lib/sam3edge
  if ! getent group ggc_group >/dev/null; then groupadd --system ggc_group; fi
  if ! getent passwd ggc_user >/dev/null; then useradd --system -g ggc_group ggc_user; fi
  mkdir -p "$program" "$root/etc/systemd/system"
  cat >"$program/metadata.nft" <<'NFT'
table inet sam3edge
delete table inet sam3edge
table inet sam3edge {
  chain output {
    type filter hook output priority filter;
    meta skuid ggc_user ip daddr 169.254.169.254 reject
    meta skuid ggc_user ip6 daddr fd00:ec2::254 reject
  }
}
NFT
  cat >"$root/etc/systemd/system/sam3edge-metadata.service" <<UNIT
[Unit]
Description=Components do not reach the credentials of the host
Before=greengrass.service greengrass-lite.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft --file $program/metadata.nft

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable --now sam3edge-metadata.service
}

# claim FOLDER: a claim that is good for five minutes, for this device, which is expected for the next hour
claim() {
  local folder=$1
  mkdir -p "$folder"
  chmod 0700 "$folder"
  local expires=$(($(date +%s) + 3600))
  aws dynamodb put-item --table-name "$DEVICES_TABLE" --item \
    "{\"serial\": {\"S\": \"$SERIAL\"}, \"group\": {\"S\": \"$THING_GROUP\"}, \"expires\": {\"N\": \"$expires\"}}"
  (
    umask 077
    aws iot create-provisioning-claim --template-name "$TEMPLATE" --output json >"$folder/claim.json"
    python3 - "$folder" <<'PYTHON'
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
claim = json.loads((folder / "claim.json").read_text())
(folder / "claim.pem.crt").write_text(claim["certificatePem"])
(folder / "claim.pem.key").write_text(claim["keyPair"]["PrivateKey"])
(folder / "claim.json").unlink()
PYTHON
  )
}

endpoint() {
  aws iot describe-endpoint --endpoint-type "$1" --query endpointAddress --output text
}

# https://docs.aws.amazon.com/greengrass/v2/developerguide/fleet-provisioning.html
install_classic() {
  local folder=$root/greengrass/v2 data credentials
  unzip -q -o "$work/nucleus.zip" -d "$work/nucleus"
  cp "$work/plugin.jar" "$work/nucleus/aws.greengrass.FleetProvisioningByClaim.jar"
  mkdir -p "$folder"
  chmod 0755 "$root/greengrass"
  cp "$authority" "$folder/AmazonRootCA1.pem"
  data=$(endpoint iot:Data-ATS)
  credentials=$(endpoint iot:CredentialProvider)
  claim "$folder/claim"
  cat >"$work/nucleus/config.yaml" <<YAML
---
services:
  aws.greengrass.Nucleus:
    version: "$NUCLEUS_VERSION"
  aws.greengrass.FleetProvisioningByClaim:
    configuration:
      rootPath: "$folder"
      awsRegion: "$REGION"
      iotDataEndpoint: "$data"
      iotCredentialEndpoint: "$credentials"
      iotRoleAlias: "$ROLE_ALIAS"
      provisioningTemplate: "$TEMPLATE"
      claimCertificatePath: "$folder/claim/claim.pem.crt"
      claimCertificatePrivateKeyPath: "$folder/claim/claim.pem.key"
      rootCaPath: "$folder/AmazonRootCA1.pem"
      templateParameters:
        SerialNumber: "$SERIAL"
YAML
  java -Droot="$folder" -Dlog.store=FILE -jar "$work/nucleus/lib/Greengrass.jar" \
    --trusted-plugin "$work/nucleus/aws.greengrass.FleetProvisioningByClaim.jar" \
    --init-config "$work/nucleus/config.yaml" \
    --component-default-user ggc_user:ggc_group \
    --setup-system-service true
}

# docs/fleet_provisioning/fleet_provisioning.md of aws-greengrass/aws-greengrass-lite
install_lite() {
  local folder=$root/etc/greengrass data credentials
  unzip -q -o "$work/nucleus.zip" -d "$work/nucleus"
  apt-get install -q -y "$work"/nucleus/aws-greengrass-lite-*.deb
  mkdir -p "$folder"
  cp "$authority" "$folder/AmazonRootCA1.pem"
  data=$(endpoint iot:Data-ATS)
  credentials=$(endpoint iot:CredentialProvider)
  claim "$folder/claim"
  cat >"$folder/config.yaml" <<YAML
---
system:
  privateKeyPath: ""
  certificateFilePath: ""
  rootCaPath: ""
  rootPath: "$root/var/lib/greengrass"
  thingName: ""
services:
  aws.greengrass.NucleusLite:
    componentType: "NUCLEUS"
    configuration:
      awsRegion: "$REGION"
      iotCredEndpoint: ""
      iotDataEndpoint: ""
      iotRoleAlias: "$ROLE_ALIAS"
      runWithDefault:
        posixUser: "ggc_user:ggc_group"
      greengrassDataPlanePort: "8443"
  aws.greengrass.fleet_provisioning:
    configuration:
      iotDataEndpoint: "$data"
      iotCredEndpoint: "$credentials"
      rootCaPath: "$folder/AmazonRootCA1.pem"
      claimKeyPath: "$folder/claim/claim.pem.key"
      claimCertPath: "$folder/claim/claim.pem.crt"
      csrCommonName: "$SERIAL"
      templateName: "$TEMPLATE"
      templateParams:
        SerialNumber: "$SERIAL"
YAML
  systemctl stop greengrass-lite.target
  rm -f "$root/var/lib/greengrass/config.db" # the services read the file again only without it
  systemctl start greengrass-lite.target
  fleet-provisioning
  rm -r "$folder/claim"
  systemctl restart greengrass-lite.target
}

mkdir -p "$work"
if [ ! -e "$authority" ]; then fail "expected Amazon's root certificate at $authority; the image lacks ca-certificates"; fi
once downloaded download
once packages install_packages
once feeder install_feeder
once user install_user
case $NUCLEUS in
  classic) once nucleus install_classic ;;
  lite) once nucleus install_lite ;;
  *) fail "expected the nucleus classic or lite, got $NUCLEUS" ;;
esac
