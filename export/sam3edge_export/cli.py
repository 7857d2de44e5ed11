"""The command line: ``sam3edge-export``.

    sam3edge-export --checkpoint assets/sam3.pt --precision fp16 --prompts prompts.txt --out bundles/sam3-1.0.0
    sam3edge-export fetch | inspect | add-phrases | sign | new-key

Exit status: 0 done; 1 the gate failed; 2 something given is wrong, which the last line of the output names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sam3edge.terminal import console, errors_in_words, say

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

SCENES, SCENE_PROMPTS = Path("assets/scenes"), Path("assets/demo-prompts.txt")
"""What an export is tried on when nothing else is given: seen from the root of the repository."""

NAMED = re.compile(r"(?P<name>.+)-(?P<version>\d+\.\d+\.\d+)")

KeyOption = Annotated[Path | None, typer.Option("--key", help="Ed25519 private key (PEM) to sign with.")]
KmsOption = Annotated[str, typer.Option("--kms-key", help="Ed25519 key in AWS KMS to sign with (id, ARN or alias).")]


@app.callback(invoke_without_command=True)
def export(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Meta's sam3.pt or sam3.1_multiplex.pt, or a transformers folder.", show_default=False),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Text file, a phrase a line: what devices may ask for.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New folder of the bundle.", show_default=False)] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16-weights, fp16, bf16 or int8.")] = "fp16",
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images that show the prompts: the gate is run and int8 calibrated on them.",
            show_default="the sample scenes, and what they show is added to the prompts",
        ),
    ] = None,
    image_limit: Annotated[int, typer.Option(min=1, help="Maximum number of images.")] = 8,
    name: Annotated[str, typer.Option(help="Of the bundle; by default from --out, <name>-<version>.")] = "",
    version: Annotated[str, typer.Option(help="Of the bundle; by default from --out, <name>-<version>.")] = "",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score that the gate admits above.")] = 0.5,
    input_size: Annotated[
        int | None, typer.Option(help="Side of the model's input in pixels, for slow devices.", show_default="1008")
    ] = None,
    text_encoder: Annotated[
        bool, typer.Option(help="Carry the text encoder, for phrases that are not known now.")
    ] = False,
    exemplars: Annotated[bool, typer.Option(help="Carry the graph for prompts that show boxes.")] = True,
    interactive: Annotated[bool, typer.Option(help="Carry the graphs that answer clicks.")] = True,
    license_file: Annotated[
        Path | None,
        typer.Option(
            "--license", help="Licence text of the weights; it must travel with them.", show_default="LICENSE beside it"
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="config.json of a model that has other sizes than SAM 3.", show_default=False)
    ] = None,
    waive_iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="Let masks go down to this IoU; the bundle says so.")
    ] = None,
    untrained: Annotated[bool, typer.Option(help="Random weights: judge by logits, not by what is found.")] = False,
    against_meta: Annotated[
        bool, typer.Option(help="Compare the checkpoint with Meta's sam3 package, too; needs it and a GPU.")
    ] = False,
    keep_failing: Annotated[bool, typer.Option(help="Write the bundle although the gate failed.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder of the report.", show_default="<out>.report")] = None,
    key: KeyOption = None,
    kms_key: KmsOption = "",
) -> None:
    """Export a SAM 3 checkpoint as a bundle that devices run, once it has proved to find the same objects."""
    if context.invoked_subcommand is not None:
        return
    for option, value in (("--checkpoint", checkpoint), ("--prompts", prompts), ("--out", out)):
        if value is None:
            raise typer.BadParameter("is needed", param_hint=option)
    assert checkpoint is not None
    assert prompts is not None
    assert out is not None
    with errors_in_words(), _progress() as step:
        from sam3edge_export.build import BundleSpec, Capability, build_bundle, license_text_of
        from sam3edge_export.checkpoint import read_checkpoint, read_config, with_input_size
        from sam3edge_export.checkpoint.folder import read_config_file
        from sam3edge_export.onnx.precision import precision_named
        from sam3edge_export.parity.fixtures import read_fixtures, read_phrases
        from sam3edge_export.parity.gate import ByInstances, ByLogits, Criterion
        from sam3edge_export.parity.report import write_report
        from sam3edge_export.sam3.tokenizer import tokenizer_of

        found_name, found_version = _identity(out, name, version)
        sizes = read_config_file(config)[0] if config else read_config(checkpoint)
        if input_size is not None:
            sizes = with_input_size(sizes, input_size)
        chosen = precision_named(precision)
        phrases = read_phrases(prompts)
        if images is None:
            images, phrases = SCENES, tuple(dict.fromkeys((*phrases, *read_phrases(SCENE_PROMPTS))))
        fixtures = read_fixtures(images, phrases, image_limit)
        license_text = license_text_of(checkpoint, license_file)
        signer = _signer(key, kms_key)
        step("reading the checkpoint", 0, 1)
        read = read_checkpoint(checkpoint, sizes)
        step("reading the checkpoint", 1, 1)
        if read.unexpected_keys:
            say(f"{len(read.unexpected_keys)} entries of the checkpoint are not used: {_few(read.unexpected_keys)}")
        capabilities: list[Capability] = []
        capabilities += ["text"] if text_encoder else []
        capabilities += ["exemplars"] if exemplars else []
        capabilities += ["interactive"] if interactive and read.tracker is not None else []
        spec = BundleSpec(
            found_name,
            found_version,
            phrases,
            chosen,
            frozenset(capabilities),
            license_text,
            waive_iou,
        )
        criterion: Criterion = ByLogits() if untrained else ByInstances(threshold)
        tokenizer = tokenizer_of(checkpoint, int(sizes.text_config.max_position_embeddings))
        against = _against_meta(checkpoint, read, tokenizer, fixtures, criterion) if against_meta else []
        built = build_bundle(
            read,
            tokenizer,
            spec,
            fixtures,
            criterion,
            out,
            signer=signer,
            keep_failing=keep_failing,
            bar=_bar(chosen, against, untrained=untrained),
            step=step,
        )
        folder = report or out.with_name(out.name + ".report")
        write_report(built.parity, against, folder)
    _say_verdict(built, out, folder)


@app.command()
def fetch(
    source: Annotated[
        str, typer.Argument(help="facebook/sam3 or facebook/sam3.1 on the Hub, or s3://bucket/key of your own.")
    ] = "facebook/sam3",
    out: Annotated[Path, typer.Option(help="Folder to put it into.")] = Path("assets"),
    accept_license: Annotated[str, typer.Option(help="Your name: you have read the SAM License and agree to it.")] = "",
    sha256: Annotated[str, typer.Option(help="Digest that a file from S3 must have.")] = "",
) -> None:
    """Bring a checkpoint and its tokenizer. The Hub's token is read from HF_TOKEN."""
    with errors_in_words(), _progress() as step:
        _fetch(source, out, accept_license, sha256, step)
    say(f"fetched into {out}")


@app.command()
def inspect(bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Verify a bundle's files and show what is in it."""
    with errors_in_words():
        from sam3edge_export.inspect import describe

        Console().print(describe(bundle))


@app.command()
def add_phrases(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle; it is not changed.")],
    prompts: Annotated[Path, typer.Option(help="Text file, a phrase a line.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    version: Annotated[str, typer.Option(help="Of the new bundle; by default from --out.")] = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="What it was exported from; needed when it carries no text encoder.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="config.json of a model of other sizes than SAM 3.")] = None,
    key: KeyOption = None,
    kms_key: KmsOption = "",
) -> None:
    """Write a bundle that knows more phrases; its graphs stay as they are."""
    with errors_in_words():
        from sam3edge.bundle.manifest import read_manifest
        from sam3edge_export import vocabulary
        from sam3edge_export.checkpoint import read_checkpoint
        from sam3edge_export.checkpoint.folder import read_config_file
        from sam3edge_export.parity.fixtures import read_phrases
        from sam3edge_export.sam3.tokenizer import tokenizer_of

        manifest = read_manifest(bundle)
        wanted = read_phrases(prompts)
        length = vocabulary.context_length(bundle)
        encode: vocabulary.Encoder
        if checkpoint is None:
            encode, tokenizer = vocabulary.BundleEncoder(bundle), vocabulary.bundle_tokenizer(bundle, length)
        else:
            sizes = read_config_file(config)[0] if config else None
            encode = vocabulary.CheckpointEncoder(read_checkpoint(checkpoint, sizes), manifest)
            tokenizer = tokenizer_of(checkpoint, length)
        _, new_version = _identity(out, manifest.name, version)
        fresh = vocabulary.add_phrases(bundle, wanted, new_version, out, tokenizer, encode, _signer(key, kms_key))
    say(f"{out}: {fresh.name} {fresh.version} knows {len(fresh.vocabulary)} phrases")


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle; its manifest is exchanged.")],
    key: KeyOption = None,
    kms_key: KmsOption = "",
) -> None:
    """Sign a bundle, and print the public key for the PublicKey of the devices' configuration."""
    with errors_in_words():
        from sam3edge_export.signing import sign_bundle

        signer = _signer(key, kms_key)
        if signer is None:
            raise typer.BadParameter("give one of them", param_hint="--key or --kms-key")
        sign_bundle(bundle, signer)
        typer.echo(signer.public_key_pem(), nl=False)


@app.command()
def new_key(path: Annotated[Path, typer.Argument(help="New file of the private key.")]) -> None:
    """Make a key to sign with, and print its public half. SAM3EDGE_KEY_PASSWORD encrypts the file."""
    with errors_in_words():
        from sam3edge_export.signing import new_key as make_key

        typer.echo(make_key(path, _password()).public_key_pem(), nl=False)


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar a step; gives what is to be called with a step's name, how much of it is done, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)

        yield step


def _fetch(source: str, out: Path, accepted_by: str, sha256: str, step: Any) -> None:
    from sam3edge_export.download import License, fetch_from_hub, fetch_from_s3, s3_client

    def consent(terms: License) -> str | None:
        if not accepted_by:
            say(escape(terms.text or terms.name))
            say(f"{escape(terms.url)}\nRead it, and run again with --accept-license 'your name' if you agree.")
        return accepted_by or None

    name = source.rsplit("/", 1)[-1]

    def progress(done: int, of: int) -> None:
        step(f"fetching {name}, bytes", done, of)

    if source.startswith("s3://"):
        fetch_from_s3(source, out / name, s3_client(), sha256 or None, progress)
    else:
        fetch_from_hub(source, out, os.environ.get("HF_TOKEN"), consent, progress)


def _identity(out: Path, name: str, version: str) -> tuple[str, str]:
    from sam3edge_export.build import BuildError

    parts = NAMED.fullmatch(out.name)
    name, version = name or (parts["name"] if parts else ""), version or (parts["version"] if parts else "")
    if not name or not version:
        raise BuildError(
            f"what is the bundle called? give --name and --version, or an --out like sam3-1.0.0, not {out}"
        )
    return name, version


def _signer(key: Path | None, kms_key: str) -> Any:
    from sam3edge_export.signing import KeyFileSigner, KmsSigner

    if key is not None and kms_key:
        raise typer.BadParameter("only one of them", param_hint="--key and --kms-key")
    if key is not None:
        return KeyFileSigner(key, _password())
    return KmsSigner(kms_key) if kms_key else None


def _password() -> bytes | None:
    password = os.environ.get("SAM3EDGE_KEY_PASSWORD")
    return password.encode() if password else None


def _against_meta(checkpoint: Path, read: Any, tokenizer: Any, fixtures: Any, criterion: Any) -> list[Any]:
    """Our reference against Meta's own code, and Meta's code in bf16 against the same in float32."""
    from sam3edge_export.parity.gate import Candidate, run_gate
    from sam3edge_export.parity.verdict import TOLERANCES
    from sam3edge_export.sam3.meta_reference import MetaReference
    from sam3edge_export.torch_engine import Identity, TorchEngine

    ours = Candidate(TorchEngine(read.model, tokenizer, Identity("checkpoint", read.kind, read.sha256)), None)
    meta = Candidate(MetaReference(checkpoint, "cuda"), None)
    served = Candidate(MetaReference(checkpoint, "cuda", "bf16"), None)
    return [
        run_gate(ours, meta, fixtures, criterion, TOLERANCES["fp32"]),
        run_gate(meta, served, fixtures, criterion, TOLERANCES["bf16"]),
    ]


def _bar(precision: Any, against: Sequence[Any], *, untrained: bool) -> Any:
    """How far from single precision a bundle may be; None for precisions without a bar."""
    from sam3edge_export.parity.fidelity import HALF, Bar, published_bar

    if precision.computes_in not in HALF:
        return None
    if not against:
        return published_bar(untrained=untrained)
    return Bar("Meta's bf16 on this checkpoint", against[-1].fidelity, binding=True)


def _say_verdict(built: Any, out: Path, report: Path) -> None:
    summary = built.parity.summary()
    say(
        f"{summary['objects']} objects in {summary['images']} images, {summary['missing']} missing, {summary['extra']} "
        f"extra, worst mask IoU {summary['worst_iou']:.4f}; see {report / 'index.html'}",
    )
    if built.parity.passed:
        say(f"[bold green]passed[/]: {out}")
        return
    for failure in built.parity.failures[:10]:
        say(f"  {escape(failure)}")
    kept = f"{out} was written anyway" if built.manifest else "no bundle was written"
    say(f"[bold red]the gate failed[/] ({len(built.parity.failures)} findings); {kept}")
    raise typer.Exit(1)


def _few(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
