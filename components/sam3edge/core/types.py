"""The values that travel through the flow.

Coordinates are pixels of the frame, origin at the top left corner of the top left pixel, x to the right and y down, so
a frame of width W covers 0..W. Times are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from shapely.geometry import MultiPolygon, Polygon

if TYPE_CHECKING:
    from sam3edge.core.georeference import Georeference

RgbImage = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], red-green-blue, upright (EXIF orientation applied)."""

MaskLogits = npt.NDArray[np.float32]
"""float32 [h, w]: logits of one mask over the whole frame, at the model's mask resolution; foreground is > 0."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the frame."""


JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


Clock: TypeAlias = Literal["device", "file", "gps", "exif", "exif-local"]
"""Which clock said when a frame was taken: the device's when it was captured or arrived; the file's modification time;
a satellite's; the camera's, which knew its offset to UTC; the camera's, whose time zone was assumed."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image to be segmented.

    Attributes:
        id: stable identity; the same capture has the same id after a restart, so that what it led to can be recognised.
        source: which source it came from (``folder``, ``camera-front``).
        name: what a person calls it: a path relative to the watched folder, or the camera's sequence number.
        image: uint8 [h, w, 3], RGB; all of the frame, perhaps in fewer pixels than the frame has.
        captured_at: when the light fell in (EXIF or file time, or the camera's clock), UTC.
        digest: ``sha256:<hex>`` of the encoded bytes for files, of the pixel bytes for cameras. Frames with the same
            digest and size hold the same pixels; engines rely on it to look at an image only once.
        clock: which clock ``captured_at`` is of.
        size: width and height of the frame in pixels, which all coordinates are given in; None where they are those of
            ``image``. A large JPEG is decoded smaller than it is, see ``DecodeOptions.min_side``.
    """

    id: str
    source: str
    name: str
    image: RgbImage
    captured_at: datetime
    digest: str
    clock: Clock = "device"
    size: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        """Pixels of the frame from left to right."""
        return int(self.image.shape[1]) if self.size is None else self.size[0]

    @property
    def height(self) -> int:
        """Pixels of the frame from top to bottom."""
        return int(self.image.shape[0]) if self.size is None else self.size[1]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A box around an example of what is looked for, or of what looks alike and is not meant.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the frame.
        positive: whether it is an example of what to find.
    """

    box: Box
    positive: bool = True


VISUAL = "visual"
"""The text of a prompt that is nothing but exemplars, as the model was trained (``add_geometric_prompt`` in Meta's
``sam3/model/sam3_image_processor.py``)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to look for.

    Attributes:
        text: a short noun phrase, as the model reads it; ``VISUAL`` when the exemplars say it all.
        threshold: an instance is admitted when its score is greater than this, 0..1.
        min_area: instances that cover fewer pixels of the frame than this are dropped.
        label: what the instance is called in the message; the text itself when empty.
        exemplars: examples in the very frame that is asked about.
    """

    text: str
    threshold: float = 0.5
    min_area: float = 0.0
    label: str = ""
    exemplars: tuple[Exemplar, ...] = ()

    @property
    def name(self) -> str:
        """The label, or the text when no label was given."""
        return self.label or self.text


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One admitted query of the model, before it becomes a polygon.

    Attributes:
        prompt: the prompt it belongs to.
        score: sigmoid(query logit) * sigmoid(presence logit), 0..1.
        box: x0, y0, x1, y1 in pixels of the frame.
        mask: float32 [h, w] logits over the whole frame at the model's mask resolution.
    """

    prompt: Prompt
    score: float
    box: Box
    mask: MaskLogits


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """A point that a person gave.

    Attributes:
        x: pixels of the frame.
        y: pixels of the frame.
        positive: whether it is on the object.
    """

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class VisualPrompt:
    """All that a person has said so far about one object. At least one of points, box and mask input is needed.

    The names are those of Meta's ``SAM3InteractiveImagePredictor.predict`` (``point_coords`` and ``point_labels`` are
    the points).

    Attributes:
        points: clicks on the object, and beside it.
        box: around the object, x0, y0, x1, y1 in pixels of the frame.
        mask_input: one of the masks of an earlier ``MaskPrediction`` of this object, to be refined.
        multimask_output: whether to predict several masks, for one click that may mean a part, the object or the whole;
            else the one that the model's rule picks, which suits several clicks or a box.
    """

    points: tuple[PointPrompt, ...] = ()
    box: Box | None = None
    mask_input: MaskLogits | None = None
    multimask_output: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """What a person pointed at.

    Attributes:
        masks: float32 [K, h, w] logits over the whole frame at the model's mask resolution, foreground is > 0; one, or
            several when they were asked for, in the model's order.
        iou_predictions: float32 [K], the intersection over union with the object that the model expects of each, 0..1.
        presence: probability that there is an object at all, 0..1.
    """

    masks: npt.NDArray[np.float32]
    iou_predictions: npt.NDArray[np.float32]
    presence: float

    @property
    def best(self) -> MaskLogits:
        """float32 [h, w], the mask of the highest predicted intersection over union."""
        return np.asarray(self.masks[int(self.iou_predictions.argmax())])


@dataclass(frozen=True, slots=True)
class Place:
    """Where on Earth an object is; WGS 84, longitude before latitude, degrees.

    Attributes:
        geometry: valid polygon or multi-polygon as RFC 7946 wants it: shells counter-clockwise, holes clockwise,
            divided at the antimeridian, on a grid of 1e-7 degrees (11 mm).
        centroid: of that area on the ellipsoid.
        position: where the object stands: below the middle of its lower edge where the camera looks from the side, the
            centroid where it looks from above.
        area: square metres on the ellipsoid.
        accuracy: metres; in 95 of 100 cases the true position is nearer to ``position`` than this.
        pixel: metres on the ground of a step of one pixel at ``position``.
        outside: share of the object's pixels, 0..1, that have no place (above the horizon, outside of valid data) and
            are not in ``geometry``.
    """

    geometry: Polygon | MultiPolygon
    centroid: tuple[float, float]
    position: tuple[float, float]
    area: float
    accuracy: float
    pixel: float
    outside: float = 0.0


@dataclass(frozen=True, slots=True)
class Detection:
    """One found object, as it is published.

    Attributes:
        prompt: the prompt it belongs to.
        score: 0..1.
        box: x0, y0, x1, y1 in pixels of the frame; the bounds of ``geometry``.
        area: pixels covered by the mask, before simplification.
        geometry: valid polygon or multi-polygon in pixels of the frame.
        properties: what stages have added (``core/stages.py``): JSON values by name, written into the feature.
        place: where on Earth it is; None where that is not known.
    """

    prompt: Prompt
    score: float
    box: Box
    area: float
    geometry: Polygon | MultiPolygon
    properties: Mapping[str, JsonValue] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model ran.

    Attributes:
        name: bundle name.
        version: semantic version of the bundle.
        digest: ``sha256:<hex>`` of the bundle's manifest.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        provider: what actually runs it (``TensorrtExecutionProvider``, ``CUDAExecutionProvider``,
            ``CPUExecutionProvider``, ``fake``).
    """

    name: str
    version: str
    digest: str
    precision: str
    provider: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An execution provider that was asked for and is not used, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk whose files have been checked, as an engine needs it.

    Attributes:
        root: folder of ``vision.onnx``, ``decoder.onnx``, ``masks.onnx``, ``prompts.npz``; when it can read phrases it
            was not given at export, ``text.onnx`` and ``tokenizer.json``; when it takes exemplars, ``exemplars.onnx``;
            when it takes visual prompts, ``interactive_vision.onnx`` and ``interactive.onnx``.
        name, version, digest, precision: as in ``ModelInfo``.
        input_size: side of the square that the vision graph sees, pixels.
    """

    root: Path
    name: str
    version: str
    digest: str
    precision: str
    input_size: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a model is about one prompt as a whole.

    Attributes:
        presence: probability that what is asked for is in the frame at all, 0..1.
        best: the highest score, admitted or not, 0..1.
        missed: the highest score that was not admitted, 0..1.
    """

    presence: float
    best: float
    missed: float


@dataclass(frozen=True, slots=True, eq=False)
class EngineOutput:
    """What an engine found in one frame.

    Attributes:
        instances: admitted instances, by prompt in the order asked, then by falling score.
        timing: milliseconds by stage (``preprocess``, ``vision``, ``exemplars``, ``decoder``, ``masks``).
        unsupported_prompts: texts of prompts that this model does not support, each with the reason.
        confidence: by supported prompt; empty where the engine does not say.
    """

    instances: tuple[Instance, ...]
    timing: Mapping[str, float]
    unsupported_prompts: Mapping[str, str] = field(default_factory=dict)
    confidence: Mapping[Prompt, Confidence] = field(default_factory=dict)


Reason = Literal["unavailable", "degraded", "slow", "unsupported", "uncertain"]
"""Why the cloud is asked, see ``core/fallback/policy.py``."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose detections they are.

    Attributes:
        by: who looked.
        reason: why the cloud was wanted; None when it was not.
        detail: the same for people, and why the device's were taken nevertheless.
    """

    by: Literal["device", "cloud"] = "device"
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a model found in one frame, outlined; on the device or elsewhere.

    Attributes:
        model: what found them.
        timing: milliseconds by stage.
        unsupported_prompts, confidence: as in ``EngineOutput``.
        origin: whose detections they are, and why.
        messages: what stages have to say beside them; they become durable with the frame's own messages, all or none.
        georeference: where on Earth the frame's pixels are; None where that is not known.
    """

    model: ModelInfo
    detections: tuple[Detection, ...]
    timing: Mapping[str, float]
    unsupported_prompts: Mapping[str, str] = field(default_factory=dict)
    confidence: Mapping[Prompt, Confidence] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    messages: tuple[Message, ...] = ()
    georeference: Georeference | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes for one MQTT topic.

    Attributes:
        id: unique and stable: the same content for the same frame has the same id after a restart. Consumers drop
            repetitions by it.
        topic: MQTT topic without wildcards.
        payload: what is sent, unchanged, at QoS 1.
        supersedes: when not empty, an undelivered message with the same value here is replaced by this one (a
            heartbeat that was not delivered in time is worth nothing).
    """

    id: str
    topic: str
    payload: bytes
    supersedes: str = ""
