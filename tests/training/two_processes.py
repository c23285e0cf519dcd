"""Run by torch's launcher: two steps in each of two processes, then what each has."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from fbamatte.training import distributed
from fbamatte.training.generator import ProceduralSource
from fbamatte.training.loop import Plan, train
from fbamatte.training.recipe import load_recipe, tiny

torch.set_num_threads(1)
cpu, folder = torch.device("cpu"), Path(sys.argv[1])
group = distributed.join(cpu)
recipe = replace(tiny(load_recipe("table3-fba"), crop=32), clip=1.0)
source = ProceduralSource(recipe, cpu, rank=group.rank, world=group.world, families=("blob",))
plan = Plan(folder / "run", stop_after=2, log_every=1, sheet_every=0, save_every=0)
result = train(recipe, source, plan, cpu, group=group)
torch.save({"losses": result.losses, "network": result.network.state_dict()}, folder / f"{group.rank}.pt")
group.close()
