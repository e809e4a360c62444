"""The spec, as pydantic models; the CRD's schema and its CEL rules are generated from them."""

from typing import Annotated, Literal

from aurora_core.config.algorithms import FAMILIES
from aurora_core.config.arguments import ADAPTERS, CREDENTIAL, CREDENTIAL_NAME, FIXED_STEPS, NOT_PINNED, SHOWN
from aurora_core.config.base import Config
from aurora_core.config.effect import Effect
from aurora_core.config.parts import Samples, Serving
from aurora_core.config.training import TrainingConfig
from pydantic import Field

from aurora_operator.api.fields import GpuResource, SecretKey, gpu_rules, rules
from aurora_operator.api.models import DraftSpec, TargetSpec
from aurora_operator.api.pod_template import PodTemplate
from aurora_operator.api.promotion import PromotionSpec
from aurora_operator.api.volume import WeightsSpec

Image = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]
Quantities = Annotated[
    dict[str, Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]],
    Field(max_length=16),
]
Labels = Annotated[
    dict[str, Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]],
    Field(max_length=16),
]
QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
SWITCHABLE = [name for name, family in FAMILIES.items() if family.switchable]
OF_FAMILIES = tuple(argument for family in FAMILIES.values() for argument in family.arguments)
OWNED_ARGUMENTS = (
    "--model-path", "--host", "--port", "--device", "--dtype", "--tp-size", "--tensor-parallel-size",
    "--enable-metrics", "--api-key", "--admin-api-key", "--speculative-algorithm", "--speculative-draft-model-path",
    "--speculative-num-steps", *OF_FAMILIES, "--speculative-num-draft-tokens",
    "--speculative-adaptive", "--speculative-adaptive-config", "--trust-remote-code", "--revision",
    "--config", "--tokenizer-worker-num", "--enable-http2", "--grpc-mode", "--smg-grpc-mode", "--grpc-port",
    "--fastapi-root-path", "--encoder-only", "--use-ray", "--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs",
    "--ssl-keyfile-password", "--enable-ssl-refresh",
)  # fmt: skip
"""Arguments of SGLang that follow from other fields; the operator must own them, or capture and swap break."""
RAY_PORTS = 6379, 6499
"""The first and the last port of Ray's processes, in mode Online."""
_DAY_ZERO = "self.mode == 'ExternalWithoutDraft' || (self.mode == 'Online' && !has(self.draft.checkpoint))"


def _no_adapters(serving: str) -> str:
    return f"!has({serving}.extraArgs) || !{serving}.extraArgs.exists(a, a.matches('{ADAPTERS}'))"


class Resources(Config):
    """Compute resources of a container, as in a pod; GPUs are added, see gpuResource."""

    requests: Quantities = Field(default_factory=dict)
    """What the scheduler reserves."""
    limits: Quantities = Field(default_factory=dict)
    """What the container may use at most."""


class AdoptSpec(Config):
    """Engine pods of another owner."""

    selector: Labels = Field(min_length=1)
    """Labels of those pods, in the resource's namespace. Of them only those count that carry the agent with the key of
    Secret NAME-keys: docs/adopt.md."""


class ServingSpec(Serving):
    """The engine pods."""

    model_config = rules(
        (
            # SGLang takes abbreviations.
            "!has(self.extraArgs) || self.extraArgs.all(a, !["
            + ", ".join(f"'{a}'" for a in OWNED_ARGUMENTS)
            + "].exists(o, o.startsWith(a.split('=')[0])))",
            "serving.extraArgs names an argument that the operator owns: use target.*, draft.* or serving.* instead",
        ),
        (
            f"!has(self.extraArgs) || !self.extraArgs.exists(a, a.matches('{CREDENTIAL_NAME}|{CREDENTIAL}'))",
            f"serving.extraArgs {SHOWN}",
        ),
        (f"self.device != 'cpu' || {_no_adapters('self')}", NOT_PINNED),
        (
            (
                "!has(self.adopt) || (self.replicas == 1 && !has(self.image) && !has(self.gpuResource) && "
                "!has(self.apiKeySecret) && !has(self.podTemplate))"
            ),
            (
                "serving.adopt leaves the engine pods to who made them: remove serving.replicas, image, gpuResource, "
                "apiKeySecret and podTemplate, and set these in the workload that runs them"
            ),
        ),
        *gpu_rules("serving"),
    )

    adopt: Annotated[AdoptSpec | None, Effect.REFUSED] = None
    """Use the engine pods of a workload of another owner, and make neither pods nor a Service; strategies
    Switchback, Manual and Immediate."""
    replicas: Annotated[int, Effect.IN_PLACE] = Field(1, ge=1, le=1000)
    """Engine pods."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Where the engine computes."""
    gpu_resource: GpuResource | None = None
    """Extended resource by which pods ask for these GPUs, such as nvidia.com/mig-3g.40gb or amd.com/gpu; by default the
    one that resources names, else nvidia.com/gpu. none: podTemplate asks for them itself, as with resourceClaims."""
    image: Image | None = None
    """Engine image; by default the one that the operator was installed with."""
    port: int = Field(30000, ge=1024, le=65535)
    """Port of the engine's OpenAI-compatible API."""
    resources: Resources = Resources()
    """Resources of the engine container."""
    api_key_secret: SecretKey | None = None
    """Key that requests must show as a bearer token."""
    pod_template: PodTemplate | None = None
    """Merged into the engine pods' template: lists of containers, env, volumes, mounts and ports item by item, by name;
    any other list replaces the one that is there, and null changes nothing. There is no $patch."""


class TrainingSpec(Config):
    """The trainer."""

    model_config = rules(
        (
            "self.device == 'cuda' || self.gpus == 1",
            "training.gpus counts GPUs and training.device is cpu: use training.nodes for several processes",
        ),
        *gpu_rules("training"),
    )

    device: Literal["cuda", "cpu"] = "cuda"
    """Where the trainer computes."""
    gpus: int = Field(1, ge=1, le=16)
    """GPUs of a trainer pod, each with a rank of its own."""
    nodes: int = Field(1, ge=1, le=64)
    """Trainer pods, that train one draft together; each has its own GPUs, and the first one publishes."""
    gpu_resource: GpuResource | None = None
    """As serving.gpuResource."""
    queue_name: QueueName | None = None
    """LocalQueue of Kueue in which the trainer waits for its turn; serving waits for none."""
    image: Image | None = None
    """Trainer image; by default the one that the operator was installed with."""
    resources: Resources = Resources()
    """Resources of the trainer container."""
    hyperparameters: TrainingConfig = TrainingConfig()
    """How the draft is trained."""
    pod_template: PodTemplate | None = None
    """Merged into the trainer pods' template as serving.podTemplate; without sidecars and resources into init's."""

    @property
    def ranks(self) -> int:
        """Processes that train the draft together."""
        return self.nodes * self.gpus


class SamplesSpec(Samples):
    """What serving captures and how it reaches the trainer."""

    model_config = rules(
        (
            "self.transport != 'Mooncake' || (has(self.mooncakeMaster) && has(self.mooncakeMetadata))",
            "samples.transport Mooncake needs samples.mooncakeMaster (host:port) and samples.mooncakeMetadata (URL)",
        ),
        (
            "!has(self.mooncakeMetadata) || !self.mooncakeMetadata.matches('^https?://[^/?#]*@')",
            "samples.mooncakeMetadata contains a user or password, which all readers of this resource see: remove it",
        ),
    )

    max_age_seconds: int = Field(604_800, ge=60, le=315_360_000)
    """How long a sample, which contains a prompt and its answer, is kept; what is older is deleted."""


class Spec(Config):
    """The desired state."""

    model_config = rules(
        (
            "self.mode != 'ExternalWithDraft' || has(self.draft.checkpoint)",
            "mode ExternalWithDraft needs draft.checkpoint; to train a draft from nothing use ExternalWithoutDraft",
        ),
        (
            "self.mode != 'ExternalWithoutDraft' || !has(self.draft.checkpoint)",
            "mode ExternalWithoutDraft starts from nothing: remove draft.checkpoint, or use ExternalWithDraft",
        ),
        (
            "!has(self.draft.checkpoint) || !self.draft.checkpoint.startsWith('/') || has(self.target.volume)",
            "draft.checkpoint is a path: name its volume in target.volume, which is mounted at /model",
        ),
        (
            f"!({_DAY_ZERO}) || self.draft.topK == 1",
            "a mode without draft.checkpoint needs draft.topK 1: only then can a draft be switched on at run time",
        ),
        (
            f"!({_DAY_ZERO}) || self.draft.algorithm in {SWITCHABLE}",
            (
                f"without draft.checkpoint draft.algorithm must be {' or '.join(SWITCHABLE)}, which an engine can "
                "switch on at run time; others need a checkpoint to start from"
            ),
        ),
        (
            (
                f"self.draft.topK > 1 || !(self.draft.algorithm in {SWITCHABLE}) || self.serving.device == 'cpu' || "
                + _no_adapters("self.serving")
            ),
            FIXED_STEPS,
        ),
        (
            "(self.mode == 'Online') == (self.samples.transport == 'Ray')",
            "samples.transport Ray is that of mode Online, and of no other mode: set both or none",
        ),
        (
            (
                "!has(self.serving.adopt) || (self.mode != 'Online' && self.samples.transport == 'Filesystem' && "
                "self.promotion.strategy != 'Canary')"
            ),
            (
                "serving.adopt needs pods that others make and that share the volume, none of them a canary: "
                "mode Online makes its own; set samples.transport to Filesystem, and promotion.strategy to Auto"
            ),
        ),
        (
            "self.mode != 'Online' || self.serving.device == self.training.device",
            "in mode Online engines and trainer compute on the same: set serving.device and training.device alike",
        ),
        (
            f"self.mode != 'Online' || self.serving.port < {RAY_PORTS[0]} || self.serving.port > {RAY_PORTS[1]}",
            f"in mode Online Ray listens at {RAY_PORTS[0]} to {RAY_PORTS[1]}: give serving.port another one",
        ),
        (
            "self.promotion.strategy != 'Canary' || self.serving.replicas > self.promotion.canary.replicas",
            "Canary needs more serving.replicas than promotion.canary.replicas; with one replica use Switchback",
        ),
        (
            "!has(self.promotion.canary.route) || self.serving.replicas > 2 * self.promotion.canary.replicas",
            "promotion.canary.route needs serving.replicas above twice promotion.canary.replicas: some serve stable",
        ),
        (
            "self.mode != 'Online' || !has(self.promotion.canary.route)",
            "promotion.canary.route is for engines of a Deployment: mode Online deals by its Service",
        ),
        (
            "self.training.hyperparameters.tttLength >= 1 && self.training.hyperparameters.tttLength <= 16",
            "training.hyperparameters.tttLength must be from 1 to 16",
        ),
    )

    mode: Annotated[Literal["ExternalWithDraft", "ExternalWithoutDraft", "Online"], Effect.REFUSED]
    """ExternalWithDraft starts from draft.checkpoint; ExternalWithoutDraft trains a draft from nothing (day-0). Online
    does either in one Ray cluster that serves and trains, and needs KubeRay."""
    target: TargetSpec
    """The model that is served."""
    draft: DraftSpec = DraftSpec()
    """The draft."""
    serving: Annotated[ServingSpec, Effect.ENGINES] = ServingSpec()
    """The engine pods."""
    training: Annotated[TrainingSpec, Effect.TRAINER] = TrainingSpec()
    """The trainer."""
    samples: Annotated[SamplesSpec, Effect.BOTH] = SamplesSpec()
    """What is captured."""
    weights: WeightsSpec = WeightsSpec()
    """The volume."""
    promotion: Annotated[PromotionSpec, Effect.IN_PLACE]
    """How a candidate becomes stable."""
    suspend: Annotated[bool, Effect.IN_PLACE] = False
    """Stop training and promotion; serving continues as it is."""

    @property
    def day_zero(self) -> bool:
        """Whether it starts without a draft."""
        return self.draft.checkpoint is None
