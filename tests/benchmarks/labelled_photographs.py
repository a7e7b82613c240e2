"""Photographs of shared/real whose class is plain, as a labelled folder: what `evaluate` and `name` take.

    python tests/benchmarks/labelled_photographs.py ../shared/real/photos/held OUT
    usae-train evaluate photos OUT --out REPORT --answers

The photographs came without labels. These were given by eye, from the pictures alone, before any network was asked:
only where one of ImageNet's classes is meant beyond doubt. Not so a penguin, which is no king penguin, a crocodile,
which may be an alligator, or a kangaroo. 31 of the 118 photographs have one, of 17 originals: crops of one original are
no proof of their own.

`photos`, right answers and loss recovered (zeros; the mean token gives the same to a hundredth):

            as it is    from its own codes    from the other's
    lite0     97%         81%   0.94            87%   0.95
    lite2    100%         87%   0.95            77%   0.93
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

LABELS = {
    "baseball": ["gcompris_categorization_132_d38c"],
    "screwdriver": ["gcompris_categorization_38_ee52"],
    "hammer": ["gcompris_categorization_49_7c22"],
    "anemone fish": ["gcompris_categorization_72_c7b2"],
    "African chameleon": ["gcompris_erase_476_ab1f", "gcompris_erase_476_ab1f_c1"],
    "castle": [
        "gcompris_explore_monuments_140_5df3",
        "gcompris_explore_monuments_140_5df3_c1",
        "gcompris_explore_monuments_175_b80b",
        "gcompris_explore_monuments_175_b80b_c1",
    ],
    "palace": ["gcompris_explore_monuments_150_7716", "gcompris_explore_monuments_150_7716_c1"],
    "Madagascar cat": ["gcompris_explore_world_animals_397_22b9_c0"],
    "Komodo dragon": ["gcompris_explore_world_animals_398_6d14"],
    "ice bear": ["gcompris_explore_world_animals_399_f653_c0"],
    "giant panda": ["gcompris_explore_world_animals_403_89c8", "gcompris_explore_world_animals_403_89c8_c1"],
    "head cabbage": ["ifct_C016_b3ad"],
    "hog": ["ifct_O050_34b0"],
    "bee": ["opencv_european-honey-bee_6691", "opencv_european-honey-bee_6691_c1"],
    "pot": ["opencv_plant_97c1_c1"],
    "stone wall": ["stellarium_Stein_Platte_Quaderstein_859a_c0"],
    "paintbrush": [
        "wall_Picture_1A_by_freespace_8f85",
        "wall_Picture_1A_by_freespace_8f85_c3",
        "wall_Picture_1A_by_freespace_8f85_c5",
        "wall_Picture_1A_by_freespace_8f85_c7",
    ],
    "cocker spaniel": [
        "wall_friends_by_Aitzol_Berasategi_9770_c0",
        "wall_friends_by_Aitzol_Berasategi_9770_c2",
        "wall_friends_by_Aitzol_Berasategi_9770_c4",
        "wall_friends_by_Aitzol_Berasategi_9770_c6",
    ],
}


def main() -> None:
    """Copy them to OUT/CLASS/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for class_, names in LABELS.items():
        (args.out / class_).mkdir(parents=True)
        for name in names:
            shutil.copy(args.photographs / f"{name}.jpg", args.out / class_)


if __name__ == "__main__":
    main()
