"""The keys of ``train.py``: what a run of training, scoring and fusion is told."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import AfterValidator, Field, create_model
from speechbrain.utils.run_opts import RunOptions

from acorl_sb import corpora
from acorl_sb.training.member_options import (
    Augment,
    Averaged,
    Balance,
    Epochs,
    EpochSteps,
    Lists,
    PairLoss,
    PerClass,
    Schedule,
    Seed,
    Speeds,
    View,
)
from acorl_sb.training.train_loggers import check_train_logger
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.option_kinds import ABSENT
from acorl_sb.utils.options import Device, Factory, Options, Seconds, Text, built, validate

CORPUS = ("corpus", "data_folder", "prepare_options")
TrainLogger = built("!name: of a logger, or null", lambda v: v is None or callable(v))


def _known_corpus(name: str) -> str:
    try:
        corpora.corpus_module(name)
    except UserError as error:
        raise ValueError(str(error)) from None
    return name


class LearningKeys(Options):
    """What decides a member's weights whatever the data, and how fast they are got."""

    seed: Seed = Field(description="of initial weights, training examples and augmentation")
    batch_size: int = Field(ge=1, le=100_000, description="training examples of a step, each rank")
    per_class: int = Field(1, ge=1, le=1000, description="of every class (speaker) in a batch")
    objective_per_class: PerClass | None = Field(
        None,
        description="the objective gets batches of its own, with so many crops of every speaker; "
        "null: the task's batches",
    )
    pair_loss: PairLoss = Field(
        None,
        description="a task loss on pairs of crops, in batches of its own; null: classes alone",
    )
    epochs: Epochs = Field(description="development checks, a checkpoint after each")
    epoch_steps: EpochSteps = Field(description="steps of an epoch")
    workers: int = Field(0, ge=0, le=1024, description="processes that load examples; 0: none")
    optimizer: Factory = Field(description="of encoder and head: parameters -> optimizer")
    adversary_optimizer: Factory = Field(description="of the adversary: parameters -> optimizer")
    lr_schedule: Schedule = Field(description="sets the learning rate before each step")
    head: Factory = Field(description="of the task loss: (dim, n_classes) -> module")
    augment: Augment = Field(None, description="inputs and relative lengths -> the same, augmented")
    average_checkpoints: Averaged | None = Field(
        None, description="best epochs whose weights are averaged at the end; null: the best alone"
    )
    train_logger: TrainLogger = Field(
        None, description="SpeechBrain's logger that is told of each epoch, docs/training.md"
    )
    view: View = Field(
        "crop",
        description="crop: references see the same crop; clean: before its augmentation; "
        "unaugmented: the objective only has crops without any; utterance: once per utterance",
    )

    def check(self) -> None:
        check_train_logger(self.train_logger)
        if self.batch_size % self.per_class:
            raise UserError(
                f"the key 'per_class', {self.per_class}, must divide batch_size, {self.batch_size}"
            )
        pairs = self.pair_loss and self.pair_loss.per_class
        for key, each in (
            ("the key 'objective_per_class'", self.objective_per_class),
            ("the key 'pair_loss': its per_class", pairs),
        ):
            if each is not None and (self.batch_size % each or self.batch_size < 2 * each):
                raise UserError(
                    f"{key}, {each}, must divide batch_size, {self.batch_size}, and leave room for "
                    "a second speaker"
                )
        if self.average_checkpoints is not None and self.average_checkpoints > self.epochs:
            raise UserError(
                f"the key 'average_checkpoints', {self.average_checkpoints}, is more than the "
                f"{self.epochs} epochs"
            )


class TrainingKeys(LearningKeys):
    """What decides a speaker encoder's weights, and how fast they are got."""

    crop_seconds: Seconds = Field(description="length of a training example, s")
    speeds: Speeds = Field([1.0], description="each speed of a voice is a speaker of its own")
    balance: Balance | None = Field(
        None, description="{gender: 1}: its groups are drawn equally often; 0: as they are"
    )
    objective_within: Text | None = Field(
        None, description="a column: each of the objective's own batches is of one of its groups"
    )
    cache_mb: float = Field(
        0.0, ge=0, description="decoded audio kept in memory, MB, by each process that loads"
    )
    cuda_graphs: bool = Field(
        False, description="on one GPU, replay the network as a CUDA graph; docs/training.md"
    )

    def check(self) -> None:
        LearningKeys.check(self)
        if self.objective_within is not None and self.objective_per_class is None:
            raise UserError("the key 'objective_within' needs objective_per_class, such as 4")
        if len(set(self.speeds)) < len(self.speeds):
            raise UserError(f"the key 'speeds' must list each speed once, not {self.speeds}")
        if list(self.speeds) != [1.0] and self.view == "utterance":
            raise UserError(
                "the key 'speeds' needs view: crop; cached embeddings are of the natural speed"
            )


class TrainOptions(Lists, TrainingKeys):
    """All keys of ``train.py``."""

    lazy: ClassVar[tuple[str, ...]] = ("members", "references")

    output_folder: Text = Field(description="where everything is written")
    corpus: Annotated[Text, AfterValidator(_known_corpus)] = Field(
        description="voices (synthetic, made here), folder, manifest, kaldi, speechocean762, "
        "librispeech, voxceleb, commonvoice, speechcommands (docs/corpora.md), or a module of your "
        "own with the function collect (CONTRIBUTING.md)"
    )
    data_folder: Text | None = Field(
        None, description="where the corpus lies; voices is made in a cache folder when null"
    )
    prepare_options: dict[str, Any] = Field(
        {}, description="splits, trials, and options of the corpus (docs/corpora.md)"
    )
    trials: Text | None = Field(
        None, description="test trials of your own, over any utterances of the corpus"
    )
    dev_trials: Text | None = Field(None, description="development trials of your own")
    noise_folder: Text | None = Field(ABSENT, description="noises that the augmentation mixes in")
    dev_seconds: Seconds | None = Field(
        None, description="centre crop of the check after each epoch, s; null: whole utterances"
    )
    score_seconds: Seconds | None = Field(
        None, description="centre crop of the final scoring, s; null: whole utterances"
    )
    report: bool = Field(True, description="write report.html, its pictures and curves.json")
    lr: float = Field(
        ABSENT, gt=0, le=1000, description="learning rate, for optimizer and schedule"
    )
    total_steps: int = Field(ABSENT, ge=1, description="steps of a member's training")
    embedding_dim: int = Field(ABSENT, ge=1, le=65536, description="of the members' encoders")
    channels: int = Field(ABSENT, ge=1, le=8192, description="of the members' encoders")

    def check(self) -> None:
        TrainingKeys.check(self)
        Lists.check(self)
        check_preparation(self.corpus, self.prepare_options)


class TrainingRun(Device):
    """SpeechBrain's run options that training heeds.

    The others are refused: evaluation is part of every run, a loss that is not finite ends it, and
    a member must not differ from what its record says.
    """

    distributed_backend: Literal["nccl", "gloo", "mpi"] = Field("nccl", description="of torchrun")
    find_unused_parameters: bool = Field(False, description="of DistributedDataParallel")
    precision: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="of the encoder")
    max_grad_norm: float = Field(5.0, description="gradients are clipped to it; 0 or less: never")
    grad_accumulation_factor: int = Field(1, ge=1, description="batches of an optimizer's step")
    skip_nonfinite_grads: bool = Field(False, description="leave out gradients that are not finite")
    compile: bool = Field(False, description="torch.compile all modules")
    compile_module_keys: list[Text] | None = Field(None, description="or these of them")
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = Field(
        "default", description="of torch.compile"
    )
    compile_using_fullgraph: bool = Field(False, description="of torch.compile")
    compile_using_dynamic_shape_tracing: bool = Field(False, description="of torch.compile")
    noprogressbar: bool = Field(False, description="no progress bars")
    tqdm_colored_bar: bool = Field(False, description="coloured progress bars")
    ckpt_interval_minutes: int = Field(
        0, description="between checkpoints within an epoch; 0: none"
    )
    ckpt_interval_steps: int = Field(0, description="between checkpoints within an epoch; 0: none")
    profile_training: bool = Field(False, description="profile the first steps for TensorBoard")
    profile_warmup: int = Field(5, ge=0, description="steps before profiling")
    profile_steps: int = Field(5, ge=1, description="steps of profiling")
    debug: bool = Field(
        False, description="short: puts in epochs and epoch_steps from the next two"
    )
    debug_epochs: int = Field(2, ge=1, description="epochs with --debug")
    debug_batches: int = Field(2, ge=1, description="epoch_steps with --debug")
    debug_persistently: bool = Field(False, description="always so: results are kept")

    def run_options(self, given: set[str]) -> tuple[RunOptions, dict[str, Any]]:
        # As keys of the YAML, so that the members' records show it.
        short = {"epochs": self.debug_epochs, "epoch_steps": self.debug_batches}
        values = {key: value for key, value in self if not key.startswith("debug")}
        if self.max_grad_norm <= 0:  # SpeechBrain multiplies by it: 0 stops, less than 0 ascends
            values["max_grad_norm"] = math.inf
        return RunOptions(**values, overridden_args=given), short if self.debug else {}


def check_preparation(corpus: str, options: dict[str, Any]) -> None:
    """Refuse ``prepare_options`` that neither ``corpora.prepare`` nor the corpus takes."""
    collect = corpora.corpus_module(corpus).collect
    fields = {**_parameters(corpora.prepare), **_parameters(collect)}
    declared = create_model("Preparation", __base__=Options, **fields)
    try:
        validate(declared, options, built=True)
    except UserError as error:
        raise UserError(f"the key 'prepare_options' of corpus {corpus}: {error}") from None


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function takes as options, as pydantic's fields."""
    kinds = get_type_hints(function, include_extras=True)
    return {
        name: (kinds[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("corpus", "data_folder", "save_folder", "options", "own_trials")
    }


# What decides a member's weights; the others of TrainingKeys do not.
FAST = ("cache_mb", "workers", "train_logger", "cuda_graphs")
DECISIVE = (*(key for key in TrainingKeys.model_fields if key not in FAST), "dev_seconds")
