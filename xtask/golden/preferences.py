"""Makes small preference sets with the columns of the published ones.

`python preferences.py FOLDER` needs pyarrow and pillow of requirements.txt only. Every picture has
one colour, which says what it is: red is the number of the row, green 200 where it is preferred,
20 where it is not, and 90 where nobody decided.
"""

import argparse
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PREFERRED, REJECTED, UNDECIDED = 200, 20, 90


def picture(row: int, green: int, size: tuple[int, int] = (24, 16), form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (row, green, 7)).save(file, form)
    return file.getvalue()


def pick_a_pic(path: Path, first: int, rows: int, compression: str) -> None:
    """Pick-a-Pic v2: a tie has 0.5 twice; one row has no label, one a damaged picture."""
    labels = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]
    table = {name: [] for name in ("caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label")}
    for row in range(first, first + rows):
        label = labels[row % 3]
        green = [{1.0: PREFERRED, 0.0: REJECTED, 0.5: UNDECIDED}[value] for value in label]
        table["caption"].append(f"picture {row}")
        for side in (0, 1):
            table[f"jpg_{side}"].append(picture(row, green[side]))
            table[f"label_{side}"].append(label[side])
        table["has_label"].append(row != 4)
        if row == 7:
            damaged = 1 if label[1] == 1.0 else 0
            table[f"jpg_{damaged}"][-1] = table[f"jpg_{damaged}"][-1][:40]
    numbers = pa.array(range(first, first + rows), pa.int64())
    text = pa.array([f"uid-{row}" for row in range(rows)])
    columns = {
        "are_different": pa.array([True] * rows),
        "best_image_uid": text,
        "caption": pa.array(table["caption"]),
        "created_at": pa.array([0] * rows, pa.timestamp("ns")),
        "has_label": pa.array(table["has_label"]),
        "image_0_uid": text,
        "image_0_url": text,
        "image_1_uid": text,
        "image_1_url": text,
        "jpg_0": pa.array(table["jpg_0"], pa.binary()),
        "jpg_1": pa.array(table["jpg_1"], pa.binary()),
        "label_0": pa.array(table["label_0"], pa.float64()),
        "label_1": pa.array(table["label_1"], pa.float64()),
        "model_0": text,
        "model_1": text,
        "ranking_id": numbers,
        "user_id": numbers,
        "num_example_per_prompt": numbers,
        "__index_level_0__": numbers,
    }
    # Small groups and pages, so that a row in the middle needs some to be passed over.
    pq.write_table(
        pa.table(columns),
        path,
        row_group_size=5,
        data_page_size=256,
        write_batch_size=2,
        compression=compression,
    )


def hpd(folder: Path) -> None:
    """HPD v2: pairs with `human_preference`, and four pictures with `rank`, 1 the best."""
    entries = []
    for row in range(6):
        preference = [[1, 0], [0, 1], [1, 1]][row % 3]
        paths = [f"{row:08}_{side}.jpg" for side in (0, 1)]
        for path, value in zip(paths, preference):
            green = UNDECIDED if preference == [1, 1] else PREFERRED if value else REJECTED
            (folder / "train" / path).write_bytes(picture(row, green, form="JPEG"))
        entry = {"prompt": f"pair {row}", "image_path": paths, "human_preference": preference}
        entries.append({**entry, "user_hash": "x"})
    (folder / "train.json").write_text(json.dumps(entries) + "\n")

    ranks = [[2, 1, 4, 3], [1, 1, 2, 3], [3, 2, 2, 1]]
    images = [
        [
            {"bytes": picture(row, PREFERRED if value == 1 else REJECTED), "path": None}
            for value in rank
        ]
        for row, rank in enumerate(ranks)
    ]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "prompt": pa.array([f"ranking {row}" for row in range(3)]),
            "images": pa.array(images, pa.list_(image)),
            "rank": pa.array(ranks, pa.list_(pa.int64())),
        }
    )
    pq.write_table(table, folder / "test.parquet", row_group_size=2, compression="zstd")


def make(folder: Path) -> None:
    for sub in ("pick-a-pic", "hpd/train"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    pick_a_pic(folder / "pick-a-pic/train-00000-of-00002.parquet", 0, 12, "snappy")
    pick_a_pic(folder / "pick-a-pic/train-00001-of-00002.parquet", 12, 9, "zstd")
    hpd(folder / "hpd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go")
    make(parser.parse_args().folder)
