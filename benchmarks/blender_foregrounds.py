"""Render foregrounds with exact straight colour and coverage, as folders that `fbamatte train --data` reads.

    python3.11 -m venv render && render/bin/pip install bpy==5.0.1
    render/bin/python benchmarks/blender_foregrounds.py OUT [--count 100] [--size 384] [--samples 32] [--first 0]

OUT/fg/NAME.exr is straight F, scene-linear, 0 where nothing covers (`fbamatte train … --prepare` extends
it); OUT/alpha/NAME.png is 16-bit coverage. Everything is made by this script from a seed: bodies, what grows on them,
paint, light, lens. Pictures that are there are not rendered again. Needs Blender's module and numpy alone.
"""

from __future__ import annotations

import argparse
import colorsys
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

LENGTHS = {"ball of hair": 0.4, "fur": 0.15, "long hair": 0.9, "fringe": 0.25, "leaves": 0.2, "grass": 0.3}
KINDS = ("ball of hair", "fur", "long hair", "leaves", "fringe", "long hair", "leaves", "grass")
BODIES = ("sphere", "sphere", "monkey", "torus", "cylinder", "cube")
BOUNCES = 4
"""Of a ray at most. Light that scatters from strand to strand more often than that is lost: blond hair is darker."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--samples", type=int, default=32)
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
        light(chance)
        see(chance, 0.8 + 0.5 * LENGTHS[kind])
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
    scene.cycles.max_bounces = scene.cycles.transmission_bounces = BOUNCES
    scene.cycles.diffuse_bounces, scene.cycles.glossy_bounces = 2, BOUNCES
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
    body = add_body(chance, kind)
    body.data.materials.append(painted(chance))
    leaf = add_leaf(chance) if kind == "leaves" else None
    body.data.materials.append(hair(chance))
    body.modifiers.new("hair", "PARTICLE_SYSTEM")
    system = body.particle_systems[0]
    system.seed = chance.randrange(10000)
    settings = system.settings
    settings.type, settings.use_advanced_hair, settings.material = "HAIR", True, 2
    if leaf:
        scatter(chance, settings, leaf)
        if chance.random() < 0.8:  # twigs instead of a body; leaves grow where its faces were
            body.modifiers.new("twigs", "WIREFRAME").thickness = chance.uniform(0.02, 0.08)
    else:
        comb(chance, settings, kind)
    if kind in ("ball of hair", "long hair") and chance.random() < 0.6:  # a scalp, not the whole head
        group = body.vertex_groups.new(name="scalp")
        level = chance.uniform(-0.2, 0.4)
        group.add([v.index for v in body.data.vertices if v.co.z > level], 1.0, "REPLACE")
        system.vertex_group_density = group.name


def add_body(chance: random.Random, kind: str) -> Any:
    """Add a lumpy thing, or a sheet for what grows on sheets."""
    add = bpy.ops.mesh
    if kind in ("grass", "fringe"):
        add.primitive_grid_add(
            x_subdivisions=40, y_subdivisions=40, size=2.0, rotation=(math.pi / 2 if kind == "fringe" else 0.15, 0, 0)
        )
    else:
        {
            "sphere": lambda: add.primitive_ico_sphere_add(subdivisions=2 if kind == "leaves" else 4, radius=0.75),
            "monkey": lambda: add.primitive_monkey_add(size=1.6),
            "torus": lambda: add.primitive_torus_add(major_radius=0.6, minor_radius=0.25),
            "cylinder": lambda: add.primitive_cylinder_add(vertices=48, radius=0.5, depth=1.4),
            "cube": lambda: add.primitive_cube_add(size=1.1),
        }["sphere" if kind == "leaves" else chance.choice(BODIES)]()
    body = bpy.context.object
    body.scale = [chance.uniform(0.6, 1.2) for _ in range(3)]
    if kind not in ("grass", "fringe"):
        body.rotation_euler = (chance.gauss(0, 0.25), chance.gauss(0, 0.25), chance.uniform(0, 2 * math.pi))
    if kind != "leaves":
        body.modifiers.new("rounder", "SUBSURF").render_levels = 1
    bump = body.modifiers.new("bump", "DISPLACE")
    bump.texture = bpy.data.textures.new("clouds", "CLOUDS")
    bump.texture.noise_scale, bump.strength = chance.uniform(0.3, 1.2), chance.uniform(0, 0.4)
    return body


def comb(chance: random.Random, settings: Any, kind: str) -> None:
    """Set how many strands, how long, thick and wild; thickness is about a pixel, as in photographs."""
    settings.count = {"fur": 2500, "grass": 1500, "fringe": 1200}.get(kind, chance.randrange(150, 900))
    settings.hair_length = LENGTHS[kind] * chance.uniform(0.4, 1.6)
    settings.hair_step = 5
    settings.brownian_factor = chance.uniform(0, 0.06)
    settings.factor_random = chance.uniform(0, 0.25)
    lean = settings.normal_factor  # what the length comes to
    settings.object_align_factor = [lean * chance.gauss(mean, 0.4) for mean in (0, 0, -0.4)]
    settings.child_type = "INTERPOLATED"
    settings.rendered_child_count = chance.randrange(4, 12)
    settings.clump_factor = chance.uniform(-0.3, 0.9)
    settings.roughness_1, settings.roughness_endpoint = chance.uniform(0, 0.06), chance.uniform(0, 0.15)
    settings.kink = chance.choice(("NO", "NO", "CURL", "WAVE"))
    settings.kink_amplitude, settings.kink_frequency = chance.uniform(0, 0.06), chance.uniform(1, 6)
    settings.root_radius = math.exp(chance.uniform(math.log(0.2), math.log(2)))
    settings.tip_radius = settings.root_radius * chance.uniform(0, 0.6)
    settings.radius_scale = 0.01


def add_leaf(chance: random.Random) -> Any:
    """Add the leaf that `scatter` repeats: a bent ellipse, out of the camera's sight itself."""
    bpy.ops.mesh.primitive_circle_add(vertices=16, radius=1, fill_type="TRIFAN", location=(0, 0, -50))
    leaf = bpy.context.object
    leaf.scale = (1, chance.uniform(0.2, 0.7), 1)
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    bend = chance.uniform(-0.5, 0.5)
    for vertex in leaf.data.vertices:
        vertex.co.z = bend * vertex.co.x**2 + 0.4 * abs(vertex.co.y)
    leaf.data.materials.append(painted(chance))
    return leaf


def scatter(chance: random.Random, settings: Any, leaf: Any) -> None:
    """Set leaves instead of strands, each turned and sized at random."""
    settings.count = chance.randrange(60, 500)
    settings.hair_length = 1
    settings.render_type, settings.instance_object = "OBJECT", leaf
    settings.particle_size, settings.size_random = chance.uniform(0.1, 0.3), chance.uniform(0.2, 0.8)
    settings.use_rotations, settings.rotation_factor_random = True, chance.uniform(0.1, 0.8)
    settings.phase_factor_random = 2


def painted(chance: random.Random) -> Any:
    """Return a surface of two paints, mixed by noise or by cells; with fur on it one sees it between."""
    material = bpy.data.materials.new("paint")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shade = nodes["Principled BSDF"]
    shade.inputs["Roughness"].default_value = chance.uniform(0.2, 1)
    pattern = nodes.new(chance.choice(("ShaderNodeTexNoise", "ShaderNodeTexVoronoi", "ShaderNodeTexWave")))
    pattern.inputs["Scale"].default_value = math.exp(chance.uniform(0, 3))
    mix = nodes.new("ShaderNodeMixRGB")
    links.new(pattern.outputs[0], mix.inputs[0])
    mix.inputs[1].default_value, mix.inputs[2].default_value = paint(chance), paint(chance)
    links.new(mix.outputs[0], shade.inputs["Base Color"])
    return material


def hair(chance: random.Random) -> Any:
    """Return hair: natural by its melanin, or dyed as dolls' and toys' is."""
    material = bpy.data.materials.new("hair")
    material.use_nodes = True
    nodes = material.node_tree.nodes
    shade = nodes.new("ShaderNodeBsdfHairPrincipled")
    if chance.random() < 0.5:
        shade.parametrization = "MELANIN"
        shade.inputs["Melanin"].default_value = chance.random() ** 1.5
        shade.inputs["Melanin Redness"].default_value = chance.random()
        shade.inputs["Random Color"].default_value = chance.uniform(0, 0.4)
    else:
        shade.parametrization = "COLOR"
        shade.inputs["Color"].default_value = paint(chance)
    shade.inputs["Roughness"].default_value = chance.uniform(0.15, 0.5)
    material.node_tree.links.new(shade.outputs["BSDF"], nodes["Material Output"].inputs["Surface"])
    return material


def paint(chance: random.Random) -> tuple[float, float, float, float]:
    """Return a colour of any hue, mostly muted, with alpha."""
    return (*colorsys.hsv_to_rgb(chance.random(), chance.random() ** 1.3, chance.uniform(0.03, 0.9)), 1.0)


def light(chance: random.Random) -> None:
    """Add one to three lamps, one of them often behind."""
    for _ in range(chance.randrange(1, 4)):
        around, height = chance.uniform(0, 2 * math.pi), chance.uniform(-0.5, 3)
        at = (4 * math.cos(around), 4 * math.sin(around), height)
        bpy.ops.object.light_add(type="AREA", location=at)
        lamp = bpy.context.object
        lamp.data.energy, lamp.data.size = chance.uniform(50, 700), chance.uniform(0.2, 3)
        lamp.data.color = tint(chance)
        look_at(lamp, (0, 0, 0))


def see(chance: random.Random, reach: float) -> None:
    """Add a camera that may be out of focus and sees most of what reaches so far from the middle."""
    around, far = chance.uniform(0, 2 * math.pi), chance.uniform(3.5, 7)
    bpy.ops.object.camera_add(location=(far * math.cos(around), far * math.sin(around), chance.uniform(-0.3, 1.5)))
    camera = bpy.context.object
    look_at(camera, [reach * chance.uniform(-0.3, 0.3) for _ in range(3)])
    camera.data.lens = camera.data.sensor_width / 2 * far / (reach * chance.uniform(0.7, 1.3))
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
