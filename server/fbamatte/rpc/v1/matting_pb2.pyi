from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

COMPRESSION_DWAA: Compression
COMPRESSION_NONE: Compression
COMPRESSION_PIZ: Compression
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_ZIP: Compression
COMPRESSION_ZIPS: Compression
DESCRIPTOR: _descriptor.FileDescriptor
PAYLOAD_KIND_EXR: PayloadKind
PAYLOAD_KIND_PLANES: PayloadKind
PAYLOAD_KIND_SHARED_MEMORY: PayloadKind
PAYLOAD_KIND_UNSPECIFIED: PayloadKind
PIXEL_TYPE_FLOAT: PixelType
PIXEL_TYPE_HALF: PixelType
PIXEL_TYPE_UNSPECIFIED: PixelType
PLANE_KIND_ALPHA: PlaneKind
PLANE_KIND_BACKGROUND: PlaneKind
PLANE_KIND_FOREGROUND: PlaneKind
PLANE_KIND_PLATE: PlaneKind
PLANE_KIND_TRIMAP: PlaneKind
PLANE_KIND_UNSPECIFIED: PlaneKind
PRECISION_AUTO: Precision
PRECISION_BF16: Precision
PRECISION_FP16: Precision
PRECISION_FP32: Precision
PRECISION_UNSPECIFIED: Precision
PRIORITY_BATCH: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_UNSPECIFIED: Priority
RGBA_CONTENT_NONE: RgbaContent
RGBA_CONTENT_PREMULTIPLIED: RgbaContent
RGBA_CONTENT_STRAIGHT: RgbaContent
RGBA_CONTENT_UNSPECIFIED: RgbaContent
SERVER_STATE_DRAINING: ServerState
SERVER_STATE_SERVING: ServerState
SERVER_STATE_STARTING: ServerState
SERVER_STATE_UNSPECIFIED: ServerState

class Chunk(_message.Message):
    __slots__ = ["data", "key"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    key: str
    def __init__(self, key: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ["memory_bytes", "memory_used_bytes", "name", "queue_capacity", "queued_batch", "queued_interactive", "running", "title"]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUEUED_BATCH_FIELD_NUMBER: _ClassVar[int]
    QUEUED_INTERACTIVE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    memory_used_bytes: int
    name: str
    queue_capacity: int
    queued_batch: int
    queued_interactive: int
    running: int
    title: str
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., queued_interactive: _Optional[int] = ..., queued_batch: _Optional[int] = ..., queue_capacity: _Optional[int] = ..., running: _Optional[int] = ...) -> None: ...

class ExrFiles(_message.Message):
    __slots__ = ["plate_bytes", "trimap_bytes"]
    PLATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRIMAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    plate_bytes: int
    trimap_bytes: int
    def __init__(self, plate_bytes: _Optional[int] = ..., trimap_bytes: _Optional[int] = ...) -> None: ...

class FrameCancel(_message.Message):
    __slots__ = ["key"]
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class FrameEnd(_message.Message):
    __slots__ = ["key"]
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class FrameError(_message.Message):
    __slots__ = ["code", "frame_id", "key", "message", "permanent", "retry_after_ms"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    frame_id: str
    key: str
    message: str
    permanent: bool
    retry_after_ms: int
    def __init__(self, key: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., frame_id: _Optional[str] = ..., permanent: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class FrameHeader(_message.Message):
    __slots__ = ["exr", "frame_id", "info", "key", "lease", "model", "output", "payload", "planes", "precision", "priority", "progress", "timeout_ms", "traceparent"]
    EXR_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PLANES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    exr: ExrFiles
    frame_id: str
    info: FrameInfo
    key: str
    lease: str
    model: str
    output: Output
    payload: PayloadKind
    planes: Planes
    precision: Precision
    priority: Priority
    progress: bool
    timeout_ms: int
    traceparent: str
    def __init__(self, key: _Optional[str] = ..., frame_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., info: _Optional[_Union[FrameInfo, _Mapping]] = ..., model: _Optional[str] = ..., priority: _Optional[_Union[Priority, str]] = ..., precision: _Optional[_Union[Precision, str]] = ..., timeout_ms: _Optional[int] = ..., payload: _Optional[_Union[PayloadKind, str]] = ..., exr: _Optional[_Union[ExrFiles, _Mapping]] = ..., planes: _Optional[_Union[Planes, _Mapping]] = ..., lease: _Optional[str] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., progress: bool = ...) -> None: ...

class FrameInfo(_message.Message):
    __slots__ = ["attributes", "colorspace", "data_window", "display_window", "name", "number", "pixel_aspect", "view"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    DATA_WINDOW_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_WINDOW_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ASPECT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.MessageMap[str, Value]
    colorspace: str
    data_window: Window
    display_window: Window
    name: str
    number: int
    pixel_aspect: float
    view: str
    def __init__(self, number: _Optional[int] = ..., view: _Optional[str] = ..., name: _Optional[str] = ..., display_window: _Optional[_Union[Window, _Mapping]] = ..., data_window: _Optional[_Union[Window, _Mapping]] = ..., pixel_aspect: _Optional[float] = ..., colorspace: _Optional[str] = ..., attributes: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ["default_model", "devices", "frames_done", "frames_failed", "limits", "shared_memory", "state", "uptime_seconds", "version"]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DONE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FAILED_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    default_model: str
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    frames_done: int
    frames_failed: int
    limits: Limits
    shared_memory: bool
    state: ServerState
    uptime_seconds: float
    version: str
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[ServerState, str]] = ..., uptime_seconds: _Optional[float] = ..., default_model: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., shared_memory: bool = ..., frames_done: _Optional[int] = ..., frames_failed: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ["chunk_bytes", "frame_pixels", "frame_side", "frames_in_flight", "lease_bytes", "payload_bytes"]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAME_PIXELS_FIELD_NUMBER: _ClassVar[int]
    FRAME_SIDE_FIELD_NUMBER: _ClassVar[int]
    LEASE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk_bytes: int
    frame_pixels: int
    frame_side: int
    frames_in_flight: int
    lease_bytes: int
    payload_bytes: int
    def __init__(self, frame_pixels: _Optional[int] = ..., frame_side: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., frames_in_flight: _Optional[int] = ..., lease_bytes: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ["default_model", "models"]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    default_model: str
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., default_model: _Optional[str] = ...) -> None: ...

class MatteHeader(_message.Message):
    __slots__ = ["exr_bytes", "frame_id", "info", "key", "payload", "planes", "provenance", "stage_seconds"]
    class ProvenanceEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    class StageSecondsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    EXR_BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PLANES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    exr_bytes: int
    frame_id: str
    info: FrameInfo
    key: str
    payload: PayloadKind
    planes: Planes
    provenance: _containers.MessageMap[str, Value]
    stage_seconds: _containers.ScalarMap[str, float]
    def __init__(self, key: _Optional[str] = ..., frame_id: _Optional[str] = ..., info: _Optional[_Union[FrameInfo, _Mapping]] = ..., provenance: _Optional[_Mapping[str, Value]] = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., payload: _Optional[_Union[PayloadKind, str]] = ..., exr_bytes: _Optional[int] = ..., planes: _Optional[_Union[Planes, _Mapping]] = ...) -> None: ...

class MatteRequest(_message.Message):
    __slots__ = ["cancel", "chunk", "end", "header", "memory_release", "memory_request"]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RELEASE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_REQUEST_FIELD_NUMBER: _ClassVar[int]
    cancel: FrameCancel
    chunk: Chunk
    end: FrameEnd
    header: FrameHeader
    memory_release: MemoryRelease
    memory_request: MemoryRequest
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., end: _Optional[_Union[FrameEnd, _Mapping]] = ..., cancel: _Optional[_Union[FrameCancel, _Mapping]] = ..., memory_request: _Optional[_Union[MemoryRequest, _Mapping]] = ..., memory_release: _Optional[_Union[MemoryRelease, _Mapping]] = ...) -> None: ...

class MatteResponse(_message.Message):
    __slots__ = ["chunk", "end", "error", "header", "memory_lease", "progress"]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LEASE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    chunk: Chunk
    end: FrameEnd
    error: FrameError
    header: MatteHeader
    memory_lease: MemoryLease
    progress: Progress
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., header: _Optional[_Union[MatteHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., end: _Optional[_Union[FrameEnd, _Mapping]] = ..., error: _Optional[_Union[FrameError, _Mapping]] = ..., memory_lease: _Optional[_Union[MemoryLease, _Mapping]] = ...) -> None: ...

class MemoryLease(_message.Message):
    __slots__ = ["bytes", "lease", "refusal", "segment", "tag"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    lease: str
    refusal: str
    segment: str
    tag: int
    def __init__(self, tag: _Optional[int] = ..., lease: _Optional[str] = ..., segment: _Optional[str] = ..., bytes: _Optional[int] = ..., refusal: _Optional[str] = ...) -> None: ...

class MemoryRelease(_message.Message):
    __slots__ = ["lease"]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: str
    def __init__(self, lease: _Optional[str] = ...) -> None: ...

class MemoryRequest(_message.Message):
    __slots__ = ["bytes", "tag"]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    tag: int
    def __init__(self, tag: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ["commercial", "description", "licence", "loaded_on", "name", "parameters", "sha256", "title"]
    COMMERCIAL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    LOADED_ON_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    commercial: bool
    description: str
    licence: str
    loaded_on: _containers.RepeatedScalarFieldContainer[str]
    name: str
    parameters: int
    sha256: str
    title: str
    def __init__(self, name: _Optional[str] = ..., title: _Optional[str] = ..., licence: _Optional[str] = ..., commercial: bool = ..., sha256: _Optional[str] = ..., parameters: _Optional[int] = ..., description: _Optional[str] = ..., loaded_on: _Optional[_Iterable[str]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ["compression", "payload", "pixel_type", "planes", "rgba", "write_trimap"]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PIXEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    PLANES_FIELD_NUMBER: _ClassVar[int]
    RGBA_FIELD_NUMBER: _ClassVar[int]
    WRITE_TRIMAP_FIELD_NUMBER: _ClassVar[int]
    compression: Compression
    payload: PayloadKind
    pixel_type: PixelType
    planes: _containers.RepeatedScalarFieldContainer[PlaneKind]
    rgba: RgbaContent
    write_trimap: bool
    def __init__(self, payload: _Optional[_Union[PayloadKind, str]] = ..., pixel_type: _Optional[_Union[PixelType, str]] = ..., planes: _Optional[_Iterable[_Union[PlaneKind, str]]] = ..., rgba: _Optional[_Union[RgbaContent, str]] = ..., compression: _Optional[_Union[Compression, str]] = ..., write_trimap: bool = ...) -> None: ...

class Plane(_message.Message):
    __slots__ = ["kind", "pixel_type"]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PIXEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    kind: PlaneKind
    pixel_type: PixelType
    def __init__(self, kind: _Optional[_Union[PlaneKind, str]] = ..., pixel_type: _Optional[_Union[PixelType, str]] = ...) -> None: ...

class Planes(_message.Message):
    __slots__ = ["height", "planes", "width"]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PLANES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    planes: _containers.RepeatedCompositeFieldContainer[Plane]
    width: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., planes: _Optional[_Iterable[_Union[Plane, _Mapping]]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ["fraction", "key", "queue_position", "stage"]
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    STAGE_DECODING: Progress.Stage
    STAGE_ENCODING: Progress.Stage
    STAGE_ESTIMATING: Progress.Stage
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_QUEUED: Progress.Stage
    STAGE_UNSPECIFIED: Progress.Stage
    fraction: float
    key: str
    queue_position: int
    stage: Progress.Stage
    def __init__(self, key: _Optional[str] = ..., stage: _Optional[_Union[Progress.Stage, str]] = ..., queue_position: _Optional[int] = ..., fraction: _Optional[float] = ...) -> None: ...

class Rational(_message.Message):
    __slots__ = ["denominator", "numerator"]
    DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    denominator: int
    numerator: int
    def __init__(self, numerator: _Optional[int] = ..., denominator: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ["data", "flag", "integer", "list", "map", "rational", "real", "text"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    RATIONAL_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    flag: bool
    integer: int
    list: ValueList
    map: ValueMap
    rational: Rational
    real: float
    text: str
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., flag: bool = ..., data: _Optional[bytes] = ..., list: _Optional[_Union[ValueList, _Mapping]] = ..., map: _Optional[_Union[ValueMap, _Mapping]] = ..., rational: _Optional[_Union[Rational, _Mapping]] = ...) -> None: ...

class ValueList(_message.Message):
    __slots__ = ["fixed", "values"]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    fixed: bool
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., fixed: bool = ...) -> None: ...

class ValueMap(_message.Message):
    __slots__ = ["values"]
    class ValuesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, Value]
    def __init__(self, values: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ["x_max", "x_min", "y_max", "y_min"]
    X_MAX_FIELD_NUMBER: _ClassVar[int]
    X_MIN_FIELD_NUMBER: _ClassVar[int]
    Y_MAX_FIELD_NUMBER: _ClassVar[int]
    Y_MIN_FIELD_NUMBER: _ClassVar[int]
    x_max: int
    x_min: int
    y_max: int
    y_min: int
    def __init__(self, x_min: _Optional[int] = ..., y_min: _Optional[int] = ..., x_max: _Optional[int] = ..., y_max: _Optional[int] = ...) -> None: ...

class PayloadKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class PixelType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class PlaneKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class RgbaContent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ServerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
