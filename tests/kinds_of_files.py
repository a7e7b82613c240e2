"""One small valid file of every kind that the project reads, and who reads it: tests and campaign damage it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from damage import Kind
from kinds_of_foreign_files import of_autoencoders, of_edits
from kinds_of_inputs import folder_of, mutated_yaml, of_pictures, of_weights, write_yaml
from mutations import mutated_bytes, mutated_json, mutated_lines, mutated_safetensors, mutated_state, on_file
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.evaluation_pass import PassSettings, PassState, run_pass
from usae_train.evaluation.measures import Measures
from usae_train.images.source_record import SourceRecord
from usae_train.model.firing import measure
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.pieces import ExtractedTokens, Pieces
from usae_train.tokens.store import ActivationStore, StoreRecord, write_record, write_shard
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.independent_fit import fit_each
from usae_train.training.logging.metrics_log import MetricsLogger
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import PUBLISHED, FitSettings
from usae_viz.concepts.labels import read_labels
from usae_viz.concepts.ranking import concept_rows
from usae_viz.export.run_record import write_run_record
from usae_viz.objectives import Concept
from usae_viz.rating.scoring import score_answers
from usae_viz.runs.manifest import Manifest, scores_of
from usae_viz.runs.metadata import read_metadata
from usae_viz.runs.plan import RenderPlan, plan_objectives, plan_recipe
from usae_viz.runs.recipe import read_render_recipe
from usae_viz.runs.render import render_plan
from usae_viz.runs.run_folder import read_run
from usae_viz.runs.show import command_again, metadata_lines
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.score import DEFAULT_THRESHOLDS

OPTIONS = {"patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 1}
SPECS = {
    name: BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=16, options=OPTIONS, seed=seed)
    for seed, name in enumerate(("left", "right"))
}
GRID, WIDTH, CONCEPTS, IMAGES = (2, 2), 8, 6, 5
SETTINGS = FitSettings(n_concepts=CONCEPTS, k=2, steps=2, batch=8)


def kinds_of_files(room: Path) -> list[Kind]:
    """All of them, each in a folder of its own below `room`."""
    torch.manual_seed(0)
    made: list[Kind] = []
    for make in (of_usaes, of_stores, of_yaml, of_runs, of_trainings, of_evaluations, of_weights, of_pictures):
        made += make(room)
    return [*made, *of_edits(room, mutated_yaml), *of_autoencoders(room)]


def _tokens(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(IMAGES, GRID[0] * GRID[1], WIDTH, generator=generator) for name in SPECS}


def small_usae() -> USAE:
    """Six concepts over two backbones that are built when they are asked for, with statistics."""
    paired = PairedTokens(_tokens(), torch.arange(IMAGES))
    usae = new_usae(dict.fromkeys(SPECS, WIDTH), SETTINGS, specs=SPECS, grid=GRID)
    usae = fit_tokens(paired.flat(), SETTINGS, usae)
    usae.statistics = measure(usae, paired)
    usae.measured_on = SourceRecord("demo", IMAGES, "f")
    return usae


def of_usaes(room: Path) -> list[Kind]:
    """A USAE folder's files, and names of concepts."""
    usae, made = small_usae(), []
    mutations = {
        "config.json": on_file(mutated_json),
        "model.safetensors": mutated_safetensors,
        "statistics.safetensors": mutated_safetensors,
        "maps.safetensors": mutated_safetensors,
    }
    for name, mutate in mutations.items():
        folder = folder_of(room, f"usae {name.partition('.')[0]}") / "usae"
        ut.save(usae, folder)
        made.append(Kind(name, folder, folder / name, mutate, lambda folder=folder: _use(folder)))
    folder = folder_of(room, "labels")
    labels = {
        "schema": 1,
        "usae": "usae",
        "usae_sha256": None,
        "labels": [{"concept": 1, "name": "eyes", "favourite": True, "note": "n"}, {"concept": 2, "name": "fur"}],
    }
    file = folder / "labels.json"
    file.write_text(json.dumps(labels))
    made.append(Kind("labels.json", folder, file, on_file(mutated_json), lambda: read_labels(file, usae)))
    return made


def _use(folder: Path) -> None:
    """What commands ask of a USAE first."""
    usae = ut.load(folder)
    codes = usae.encode(usae.names[0], torch.zeros(3, usae.widths[usae.names[0]]))
    usae.decode(usae.names[-1], codes)
    if usae.maps is not None:
        usae.maps.of(int(usae.maps.concepts[0]), int(usae.maps.images[0]), GRID[0] * GRID[1])
    if usae.statistics is not None:
        concept_rows(usae)
        usae.statistics.percentile(0, 0, 1.0)


def of_stores(room: Path) -> list[Kind]:
    """An activation store's files."""
    made = []
    mutations = {
        "store.json": on_file(mutated_json),
        "shard-00000.safetensors": mutated_safetensors,
        "failures.jsonl": on_file(mutated_lines),
    }
    for name, mutate in mutations.items():
        folder = _store(folder_of(room, f"store {name.partition('.')[0]}"))
        made.append(Kind(name, folder, folder / name, mutate, lambda folder=folder: _read_store(folder)))
    folder = folder_of(room, "piece")
    pieces = Pieces(folder)
    extracted = ExtractedTokens(range(IMAGES + 1), _tokens(), list(range(IMAGES)), [{"image": IMAGES, "why": "torn"}])
    pieces.write(extracted)
    (file,) = folder.iterdir()
    of_piece = lambda: pieces.of(range(9), dict.fromkeys(SPECS, WIDTH), GRID)  # noqa: E731
    made.append(Kind("piece of a store", folder, file, mutated_safetensors, of_piece))
    return made


def _store(folder: Path) -> Path:
    tokens = {name: rows.bfloat16() for name, rows in _tokens().items()}
    shard = write_shard(folder, 0, tokens, torch.arange(IMAGES), range(IMAGES + 1))
    record = StoreRecord(
        schema=1,
        backbones=SPECS,
        widths=dict.fromkeys(SPECS, WIDTH),
        grid=GRID,
        dtype="bfloat16",
        source="nowhere",
        fingerprint="f",
        n_images=IMAGES + 1,
        complete=True,
        shards=(shard,),
    )
    write_record(folder, record)
    (folder / "failures.jsonl").write_text(json.dumps({"image": IMAGES, "why": "torn"}) + "\n")
    return folder


def _read_store(folder: Path) -> None:
    store = ActivationStore(folder)
    store.read([0])
    store.images(0, [1])


SPECS_YAML = {
    "left": {
        "model": "vit_tiny_patch16_224",
        "weights": "random",
        "input_size": 16,
        "mean": [0.5, 0.5, 0.5],
        "options": OPTIONS,
    },
    "right": {"model": "vit_tiny_patch16_224", "weights": "weights/right.safetensors", "layer": -1},
}
RECIPE_YAML = {
    "usae": "usae",
    "concepts": [0, "1-2", {"top": 1, "by": "energy"}],
    "modes": ["per-model"],
    "seeds": [0, 1],
    "settings": {"steps": 2, "size": 16, "verdict": {"rank": 2}},
    "objectives": ["Concept(1) - 0.5 * Concept(2)"],
    "variants": {"plain": {"views": 1}, "sharp": {"decay": 1.0, "augmentation": {"rotate": 1}}},
    "outputs": ["png"],
}


def of_yaml(room: Path) -> list[Kind]:
    """Files that people write."""
    folder = folder_of(room, "specs")
    specs = folder / "specs.yaml"
    write_yaml(SPECS_YAML, specs)
    made = [Kind("specs YAML", folder, specs, mutated_yaml, lambda: read_specs(str(specs)))]
    beside, usae = folder_of(room, "recipes"), small_usae()
    recipe = beside / "recipe.yaml"
    write_yaml(RECIPE_YAML, recipe)
    made.append(Kind("recipe YAML", beside, recipe, mutated_yaml, lambda: _plan(usae, recipe)))
    return made


def _plan(usae: USAE, recipe: Path) -> RenderPlan:
    try:
        return plan_recipe(usae, read_render_recipe(recipe), recipe.parent)
    except ValueError as error:  # what a plan finds is said of concepts, whichever file asked for them
        if type(error) is UsageError and recipe.name not in str(error):
            raise UsageError(f"{recipe.name}: {error}") from error
        raise


def of_runs(room: Path) -> list[Kind]:
    """What a run of pictures leaves, and a study of it."""
    usae, made = small_usae(), []
    settings = MaximizeSettings(steps=1, views=1, size=16, mode="shared")
    plan = plan_objectives(usae, [Concept(1)], [settings])
    drawn = folder_of(room, "drawn")
    render_plan(usae, plan, drawn)
    (record,) = (drawn / "manifest").glob("*.json")
    read = {
        "run.json": _keep_on,
        "concept-00001/scores.json": read_run,
        f"manifest/{record.name}": None,
        "concept-00001/shared.png": _look,
    }
    for number, (name, look) in enumerate(read.items()):
        folder = room / f"run-{number}"
        shutil.copytree(drawn, folder)
        own = look or (lambda out: _finished(out, plan))
        mutate = mutated_png if name.endswith("png") else on_file(mutated_json)
        made.append(
            Kind(
                name.replace(record.name, "KEY.json"),
                folder,
                folder / name,
                mutate,
                lambda own=own, folder=folder: own(folder),
            )
        )
    return [*made, *_of_study(room)]


def _keep_on(out: Path) -> None:
    read_run(out)
    write_run_record(out, {"schema": 1, "objectives": ["Concept(2)"], "pictures": []})


def _finished(out: Path, plan: RenderPlan) -> None:
    manifest = Manifest(out)
    manifest.adopt(plan.jobs)
    for drawing in plan.jobs:
        if (record := manifest.drawn(drawing)) is not None and (
            scores := scores_of([record], DEFAULT_THRESHOLDS)
        ) is not None:
            str(scores)
            scores.as_dict()


def _look(folder: Path) -> None:
    about = read_metadata(folder / "concept-00001" / "shared.png")
    metadata_lines(about)
    command_again(folder, about)
    _ = about.verdict
    read_run(folder)


def mutated_png(file: Path, random: Random) -> None:
    """A PNG whose text says something else, or whose bytes are others."""
    if random.random() < 0.3:
        file.write_bytes(mutated_bytes(file.read_bytes(), random))
        return
    with Image.open(file) as picture:
        text, info = picture.info["usae"], PngInfo()
        info.add_itxt("usae", mutated_json(text.encode(), random).decode("latin-1"))
        picture.save(file, "PNG", pnginfo=info)


def _of_study(room: Path) -> list[Kind]:
    made = []
    for name, mutate in (("key.json", on_file(mutated_json)), ("answers.csv", on_file(mutated_bytes))):
        folder = folder_of(room, f"study {name.partition('.')[0]}")
        trials = [
            {"condition": "per-model left", "answer": 1, "verdict": "weak"},
            {"condition": "natural", "answer": 2},
        ]
        key = {"schema": 1, "study": "abc", "choices": 4, "trials": trials}
        (folder / "key.json").write_text(json.dumps(key))
        (folder / "answers.csv").write_text("study,rater,trial,choice,seconds\nabc,r,1,1,2.5\nabc,r,2,4,1.0\n")
        made.append(
            Kind(
                name,
                folder,
                folder / name,
                mutate,
                lambda folder=folder: score_answers(folder, [folder / "answers.csv"]),
            )
        )
    return made


def of_trainings(room: Path) -> list[Kind]:
    """What a stopped training is resumed."""
    made = []
    tokens = {name: rows.flatten(0, 1) for name, rows in _tokens().items()}
    published = SETTINGS.model_copy(update={"recipe": PUBLISHED})
    for settings in (SETTINGS, published):
        folder = folder_of(room, f"training {settings.recipe.name}")

        def go_on(folder: Path = folder, settings: FitSettings = settings) -> None:
            checkpointer = TrainingCheckpointer(folder, minutes=1e6)
            checkpointer.data = {
                "pictures": "here",
                "backbones": [[n, s.model_dump(mode="json")] for n, s in SPECS.items()],
            }
            fit_tokens(tokens, settings.model_copy(update={"steps": 2}), checkpointer=checkpointer)

        go_on()
        (file,) = folder.iterdir()
        made.append(Kind(f"training state, {settings.recipe.name}", folder, file, mutated_state, go_on))
    folder = folder_of(room, "metrics_logger")
    metrics_logger = folder / "metrics.jsonl"
    metrics_logger.write_text("".join(json.dumps({"step": n, "loss": 0.5, "r2": {"a": None}}) + "\n" for n in range(3)))
    log = lambda: MetricsLogger(metrics_logger).log(2, {"loss": 1.0})  # noqa: E731
    made.append(Kind("metrics.jsonl", folder, metrics_logger, on_file(mutated_lines), log))
    return [*made, _of_independent(room)]


def _of_independent(room: Path) -> Kind:
    folder = folder_of(room, "independent")
    (folder / "left").mkdir()
    (folder / "left" / "config.json").write_text("{}")
    data = {"pictures": "here", "backbones": [[n, s.model_dump(mode="json")] for n, s in SPECS.items()]}
    (folder / "independent.json").write_text(json.dumps({**SETTINGS.model_dump(mode="json"), **data}))
    note = folder / "independent.json"
    again = lambda: fit_each([], SETTINGS, lambda *one: None, folder, data=data)  # noqa: E731
    return Kind("independent.json", folder, note, on_file(mutated_json), again)


def of_evaluations(room: Path) -> list[Kind]:
    """The state of an evaluation, stopped after its first half."""
    folder = folder_of(room, "evaluation")
    joint = new_usae(dict.fromkeys(SPECS, WIDTH), SETTINGS).eval().requires_grad_(False)
    alone = {name: new_usae({name: WIDTH}, SETTINGS).eval().requires_grad_(False) for name in SPECS}

    def stream(tried: range) -> Iterator[PairedTokens]:
        tokens = {name: rows[list(tried)] for name, rows in _tokens().items()}
        yield PairedTokens(tokens, torch.tensor(list(tried)), [])

    def go_on() -> None:
        state = PassState(PassSettings(batch=2), Measures(joint, alone, keep_codes=True))
        run_pass(state, stream, IMAGES, PassCheckpointer(folder, minutes=0))
        state.measures.firing.statistics()
        state.measures.codes()
        assert state.measures.posthoc is not None
        _ = state.measures.total().r2, state.measures.posthoc.cross.r2, state.measures.ceiling.r2()

    go_on()
    return [Kind("evaluation state", folder, folder / "state-0.pt", mutated_state, go_on)]
