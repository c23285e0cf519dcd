"""The stock nodes that the stand-in knows: inputs and knobs. Anything else is unknown, and an error as in Nuke."""

from __future__ import annotations

from typing import Any, NamedTuple

from nuke_standin import knobs as k


class Spec(NamedTuple):
    """One knob: its class, its default, and for an enumeration its values."""

    kind: type[k.Knob]
    default: Any
    values: tuple[str, ...] = ()

    def make(self, name: str) -> k.Knob:
        """Return a new knob with its default value."""
        knob = self.kind(name, None, self.values) if self.values else self.kind(name)
        knob._value = knob._default = self.default
        if isinstance(knob, k.Array_Knob):
            given = self.default if isinstance(self.default, list) else [self.default]
            knob._value = [knob._number(element) for element in given]
            knob._default = list(knob._value)
        return knob


def double(default: float = 0.0) -> Spec:
    return Spec(k.Double_Knob, default)


def integer(default: int = 0) -> Spec:
    return Spec(k.Int_Knob, default)


def text(default: str = "") -> Spec:
    return Spec(k.EvalString_Knob, default)


def yes_no(default: bool = False) -> Spec:
    return Spec(k.Boolean_Knob, int(default))


def choice(*values: str) -> Spec:
    return Spec(k.Enumeration_Knob, values[0], values)


def channels(default: str = "rgba") -> Spec:
    return Spec(k.Channel_Knob, default)


COMMON = {
    "name": text(),
    "label": text(),
    "help": text(),
    "onCreate": Spec(k.PyScript_Knob, ""),
    "onDestroy": Spec(k.PyScript_Knob, ""),
    "knobChanged": Spec(k.PyScript_Knob, ""),
    "updateUI": Spec(k.PyScript_Knob, ""),
    "autolabel": Spec(k.PyScript_Knob, ""),
    "tile_color": text("0"),
    "gl_color": text("0"),
    "note_font": text(),
    "note_font_size": double(11),
    "note_font_color": text("0"),
    "hide_input": yes_no(),
    "cached": yes_no(),
    "bookmark": yes_no(),
    "selected": yes_no(),
    "xpos": integer(),
    "ypos": integer(),
    "postage_stamp": yes_no(),
    "disable": Spec(k.Disable_Knob, 0),
}

_COPY = {f"{end}{row}": channels("none") for row in range(4) for end in ("from", "to")}
_EXPRESSION = {f"expr{row}": text() for row in range(4)}
_EXPRESSION.update({f"temp_name{row}": text() for row in range(4)})
_EXPRESSION.update({f"temp_expr{row}": text() for row in range(4)})
_EXPRESSION.update({f"channel{row}": channels("default") for row in range(4)})
_MERGES = ("over", "under", "copy", "plus", "multiply", "max", "min", "from", "minus", "stencil", "mask")
_EXR_DATA = ("16 bit half", "32 bit float")
_EXR_COMPRESSION = (
    "Zip (1 scanline)",
    "none",
    "Zip (16 scanlines)",
    "PIZ Wavelet (32 scanlines)",
    "RLE",
    "B44",
    "B44A",
    "DWAA",
    "DWAB",
)
_EXR_METADATA = (
    "default metadata",
    "no metadata",
    "default metadata and exr/*",
    "all metadata except input/*",
    "all metadata",
)

CLASSES: dict[str, tuple[int, dict[str, Spec]]] = {
    "Group": (1, {"lock_connections": yes_no()}),
    "Input": (1, {"number": integer()}),
    "Output": (1, {}),
    "Dot": (1, {}),
    "NoOp": (1, {}),
    "Viewer": (10, {"frame": integer(1), "frame_range": text(), "viewerProcess": text()}),
    "BackdropNode": (0, {"bdwidth": integer(), "bdheight": integer()}),
    "Read": (
        0,
        {
            "file": Spec(k.File_Knob, ""),
            "proxy": Spec(k.File_Knob, ""),
            "file_type": text(),
            "format": Spec(k.Format_Knob, ""),
            "first": integer(1),
            "last": integer(1),
            "origfirst": integer(1),
            "origlast": integer(1),
            "origset": yes_no(),
            "before": choice("hold", "loop", "bounce", "black"),
            "after": choice("hold", "loop", "bounce", "black"),
            "on_error": choice("error", "black", "checkerboard", "nearest frame"),
            "raw": yes_no(),
            "premultiplied": yes_no(),
            "colorspace": text("default"),
            "localizationPolicy": choice("fromAutoLocalizePath", "on", "onDemand", "off"),
            "offset_negative_display_window": yes_no(True),
            "reload": Spec(k.Reload_Knob, ""),
            "version": integer(),
        },
    ),
    "Write": (
        1,
        {
            "file": Spec(k.File_Knob, ""),
            "proxy": Spec(k.File_Knob, ""),
            "channels": channels("rgb"),
            "file_type": choice("", "exr", "dpx", "png", "tiff", "jpeg"),
            "raw": yes_no(),
            "colorspace": text("default"),
            "datatype": choice(*_EXR_DATA),
            "compression": choice(*_EXR_COMPRESSION),
            "metadata": choice(*_EXR_METADATA),
            "interleave": choice("channels, layers and views", "channels and layers", "channels"),
            "create_directories": yes_no(),
            "autocrop": yes_no(),
            "render_order": double(1),
            "first": integer(1),
            "last": integer(1),
            "use_limit": yes_no(),
            "views": text(),
            "version": integer(),
        },
    ),
    "Copy": (2, _COPY),
    "Expression": (1, _EXPRESSION),
    "MergeExpression": (2, _EXPRESSION),
    "FilterErode": (
        1,
        {
            "channels": channels("all"),
            "size": Spec(k.WH_Knob, [0.0, 0.0]),
            "filter": choice("box", "triangle", "quadratic", "cubic", "gaussian"),
        },
    ),
    "Merge2": (
        2,
        {
            "operation": choice(*_MERGES),
            "bbox": choice("union", "intersection", "A", "B"),
            "also_merge": channels("none"),
            "mix": double(1),
        },
    ),
    "Switch": (20, {"which": double()}),
    "Assert": (1, {"expression": double(1), "message": text()}),
    "Constant": (
        0,
        {"channels": channels("rgb"), "color": Spec(k.Color_Knob, [0.0] * 4), "format": Spec(k.Format_Knob, "")},
    ),
    "CheckerBoard2": (0, {"boxsize": double(64), "format": Spec(k.Format_Knob, "")}),
    "Text2": (
        1,
        {
            "message": text(),
            "xjustify": choice("left", "center", "right"),
            "yjustify": choice("top", "center", "bottom"),
        },
    ),
    "Crop": (1, {"box": Spec(k.BBox_Knob, [0.0] * 4), "crop": yes_no(True), "reformat": yes_no()}),
    "Grade": (1, {"multiply": double(1), "add": double(), "channels": channels("rgb")}),
    "TimeOffset": (1, {"time_offset": integer(), "reverse_input": yes_no()}),
    "FrameHold": (1, {"firstFrame": integer(), "increment": integer()}),
}

ROOT: dict[str, Spec] = {
    "first_frame": integer(1),
    "last_frame": integer(100),
    "frame": integer(1),
    "fps": double(24),
    "format": Spec(k.Format_Knob, "2048 1556 0 0 2048 1556 1 2K_Super_35(full-ap)"),
    "proxy": yes_no(),
    "proxy_scale": double(0.5),
    "views": text(),
    "colorManagement": choice("Nuke", "OCIO"),
    "OCIO_config": text(),
    "customOCIOConfigPath": Spec(k.File_Knob, ""),
    "workingSpaceLUT": text("linear"),
    "project_directory": Spec(k.File_Knob, ""),
}
