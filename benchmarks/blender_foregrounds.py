"""Render foregrounds with exact straight colour and coverage, as folders that `fbamatte train --data` reads.

    python3.11 -m venv render && render/bin/pip install bpy==5.0.1
    render/bin/python benchmarks/blender_foregrounds.py OUT [--count 100] [--size 640] [--samples 128] [--first 0]

OUT/fg/NAME.exr is straight F, scene-linear, 0 where nothing covers (`fbamatte train … --prepare` extends
it); OUT/alpha/NAME.png is 16-bit coverage. Everything is made by this script from a seed: shapes, hair, light, lens.
Pictures that are there are not rendered again. Needs Blender's module and numpy alone.
"""

from __future__ import annotations

import argparse
import math
import random
import struct
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import bpy
import numpy as np

KINDS = ("ball of hair", "fur", "long hair", "grass", "fringe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.first, options.first + options.count):
        alpha_path = options.out / "alpha" / f"{seed:06d}.png"
        if alpha_path.is_file():
            continue
        begun = time.perf_counter()
        chance = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        set_stage(chance, options)
        grow(chance, kind)
        light_and_camera(chance)
        color, alpha = render(options.size)
        write_exr(options.out / "fg" / f"{seed:06d}.exr", color)
        alpha_path.parent.mkdir(parents=True, exist_ok=True)
        alpha_path.write_bytes(png16(alpha))
        soft = float(((alpha > 0.01) & (alpha < 0.99)).mean())
        print(f"{seed:06d} {kind}: {time.perf_counter() - begun:.1f} s, {soft:.0%} soft", flush=True)


def set_stage(chance: random.Random, options: argparse.Namespace) -> None:
    """Empty the scene; Cycles on the CPU, transparent film, no filter wider than a pixel and a half."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.seed = options.samples, chance.randrange(1 << 30)
    scene.cycles.use_denoising = False  # it would make up colours where coverage is thin
    scene.cycles.filter_width = chance.uniform(1.0, 1.6)
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = options.size
    scene.render.resolution_percentage = 100
    if options.threads:
        scene.render.threads_mode, scene.render.threads = "FIXED", options.threads
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    shade = world.node_tree.nodes["Background"]
    shade.inputs["Color"].default_value = (*tint(chance), 1)
    shade.inputs["Strength"].default_value = chance.uniform(0.2, 1.2)
    scene.world = world


def grow(chance: random.Random, kind: str) -> None:
    """Add a body and what grows on it."""
    if kind in ("grass", "fringe"):
        bpy.ops.mesh.primitive_plane_add(size=2.4, rotation=(math.pi / 2 if kind == "fringe" else 0.15, 0, 0))
    else:
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, radius=0.75)
    body = bpy.context.object
    body.scale = [chance.uniform(0.7, 1.2) for _ in range(3)]
    bump = body.modifiers.new("bump", "DISPLACE")
    bump.texture = bpy.data.textures.new("clouds", "CLOUDS")
    bump.texture.noise_scale, bump.strength = chance.uniform(0.3, 1.2), chance.uniform(0, 0.5)
    body.data.materials.append(skin(chance))
    body.data.materials.append(hair(chance))
    body.modifiers.new("hair", "PARTICLE_SYSTEM")
    settings = body.particle_systems[0].settings
    settings.type = "HAIR"
    settings.count = {"fur": 6000, "grass": 4000, "fringe": 3000}.get(kind, chance.randrange(600, 2500))
    settings.hair_length = {"fur": chance.uniform(0.05, 0.25), "long hair": chance.uniform(0.6, 1.6)}.get(
        kind, chance.uniform(0.2, 0.7)
    )
    settings.hair_step = 5
    settings.use_advanced_hair = True
    settings.brownian_factor = chance.uniform(0, 0.06)
    settings.factor_random = chance.uniform(0, 0.25)
    settings.child_type = "INTERPOLATED"
    settings.rendered_child_count = chance.randrange(4, 12)
    settings.clump_factor = chance.uniform(-0.3, 0.9)
    settings.roughness_1, settings.roughness_endpoint = chance.uniform(0, 0.06), chance.uniform(0, 0.15)
    settings.kink = chance.choice(("NO", "CURL", "WAVE"))
    settings.kink_amplitude, settings.kink_frequency = chance.uniform(0, 0.06), chance.uniform(1, 6)
    settings.root_radius, settings.tip_radius = chance.uniform(0.15, 0.8), chance.uniform(0, 0.1)
    settings.radius_scale = 0.01
    settings.material = 2
    body.particle_systems[0].seed = chance.randrange(10000)


def skin(chance: random.Random) -> Any:
    material = bpy.data.materials.new("skin")
    material.use_nodes = True
    shade = material.node_tree.nodes["Principled BSDF"]
    shade.inputs["Base Color"].default_value = (*[c * chance.uniform(0.1, 0.6) for c in tint(chance)], 1)
    shade.inputs["Roughness"].default_value = chance.uniform(0.3, 1)
    return material


def hair(chance: random.Random) -> Any:
    material = bpy.data.materials.new("hair")
    material.use_nodes = True
    nodes = material.node_tree.nodes
    shade = nodes.new("ShaderNodeBsdfHairPrincipled")
    shade.parametrization = "MELANIN"
    shade.inputs["Melanin"].default_value = chance.random() ** 1.5
    shade.inputs["Melanin Redness"].default_value = chance.random()
    shade.inputs["Roughness"].default_value = chance.uniform(0.15, 0.5)
    shade.inputs["Random Color"].default_value = chance.uniform(0, 0.4)
    material.node_tree.links.new(shade.outputs["BSDF"], nodes["Material Output"].inputs["Surface"])
    return material


def light_and_camera(chance: random.Random) -> None:
    """Add one to three lamps, one of them often behind, and a camera that may be out of focus."""
    for _ in range(chance.randrange(1, 4)):
        around, height = chance.uniform(0, 2 * math.pi), chance.uniform(-0.5, 3)
        at = (4 * math.cos(around), 4 * math.sin(around), height)
        bpy.ops.object.light_add(type="AREA", location=at)
        lamp = bpy.context.object
        lamp.data.energy, lamp.data.size = chance.uniform(50, 700), chance.uniform(0.2, 3)
        lamp.data.color = tint(chance)
        look_at(lamp, (0, 0, 0))
    around = chance.uniform(0, 2 * math.pi)
    far = chance.uniform(3.5, 7.5)
    bpy.ops.object.camera_add(location=(far * math.cos(around), far * math.sin(around), chance.uniform(-0.3, 1.5)))
    camera = bpy.context.object
    look_at(camera, [chance.uniform(-0.4, 0.4) for _ in range(3)])
    camera.data.lens = chance.uniform(35, 110)
    camera.data.dof.use_dof = chance.random() < 0.5
    camera.data.dof.focus_distance = far * chance.uniform(0.7, 1.1)
    camera.data.dof.aperture_fstop = math.exp(chance.uniform(math.log(0.7), math.log(16)))
    bpy.context.scene.camera = camera


def look_at(thing: Any, target: Any) -> None:
    from mathutils import Vector  # noqa: PLC0415 - comes with bpy, after it

    thing.rotation_euler = (Vector(target) - thing.location).to_track_quat("-Z", "Y").to_euler()


def tint(chance: random.Random) -> tuple[float, float, float]:
    warm = chance.gauss(0, 0.25)
    return (min(1.0, math.exp(warm) * 0.8), 0.8, min(1.0, math.exp(-warm) * 0.8))


def render(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return straight colour (H, W, 3) and coverage (H, W) of the scene."""
    scene = bpy.context.scene
    output = scene.render.image_settings
    output.file_format, output.color_mode, output.color_depth = "OPEN_EXR", "RGBA", "32"
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "picture.exr")
        bpy.ops.render.render(write_still=True)
        picture = bpy.data.images.load(scene.render.filepath)
        picture.colorspace_settings.name = "Non-Color"
        pixels = np.empty(size * size * 4, np.float32)
        picture.pixels.foreach_get(pixels)
    pixels = pixels.reshape(size, size, 4)[::-1]  # Blender counts rows from below
    alpha = np.clip(pixels[..., 3], 0, 1)
    color = np.where(alpha[..., None] > 1e-3, pixels[..., :3] / np.maximum(alpha, 1e-3)[..., None], 0)
    return color.astype(np.float32), np.where(alpha > 1e-3, alpha, 0).astype(np.float32)


def write_exr(path: Path, color: np.ndarray) -> None:
    """Write straight colour; alpha is 1, so that nothing on the way multiplies or divides by it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = color.shape[:2]
    picture = bpy.data.images.new("foreground", width, height, alpha=False, float_buffer=True, is_data=True)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = color
    picture.pixels.foreach_set(np.ascontiguousarray(pixels[::-1]).reshape(-1))
    picture.filepath_raw, picture.file_format = str(path), "OPEN_EXR"
    picture.save()


def png16(plane: np.ndarray) -> bytes:
    """Return a plane in [0, 1] as a 16-bit grey PNG."""
    height, width = plane.shape
    rows = np.round(plane * 65535).astype(">u2").view(np.uint8).reshape(height, 2 * width)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


if __name__ == "__main__":
    main()
