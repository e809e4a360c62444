"""The volume of a resource in its spec."""

from typing import Annotated, Literal

from aurora_core.config.base import Config
from aurora_core.config.effect import Effect
from aurora_core.config.parts import WeightsConfig
from pydantic import Field

from aurora_operator.api.fields import Name, rules


class ClaimTemplate(Config):
    """A PersistentVolumeClaim to make."""

    model_config = rules(
        (
            "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
            "weights.template.size can only grow",
        ),
    )

    storage_class_name: Annotated[Name | None, Effect.REFUSED] = None
    """Storage class; by default the cluster's own default."""
    size: Annotated[str, Effect.IN_PLACE] = Field("20Gi", max_length=32, pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")
    """Size; it can grow where the storage class allows that."""
    access_mode: Annotated[Literal["ReadWriteMany", "ReadWriteOnce"], Effect.REFUSED] = "ReadWriteMany"
    """ReadWriteOnce keeps all pods on one node, the one that has the volume."""


class SigningSpec(Config):
    """Signatures of versions and training states by a key of a Secret: those of another writer are not used."""

    secret_name: Name
    """Secret with the keys ``key``, which signs, and ``previous``, which may be left out and is accepted as well."""
    required: bool = True
    """Refuse versions and training states without a signature; false while what is on the volume was made before there
    was a key."""


class WeightsSpec(WeightsConfig):
    """The volume of versions, samples, training state and fetched models."""

    model_config = rules(
        (
            "!(has(self.claimName) && has(self.template))",
            "weights.claimName and weights.template exclude each other: use an existing claim, or have one made",
        ),
    )

    claim_name: Annotated[Name | None, Effect.REFUSED] = None
    """Existing claim."""
    template: ClaimTemplate | None = None
    """Claim to make; the default where no claimName is given."""
    signing: Annotated[SigningSpec | None, Effect.BOTH] = None
    """Sign versions and training states, and use none that is not signed; off where it is left out."""
    on_delete: Annotated[Literal["Retain", "Delete"], Effect.IN_PLACE] = "Retain"
    """What becomes of a claim that was made, and all drafts in it, when the resource is deleted."""
