"""`load`: the drawn `shapes`, a folder of images, and names that no source answers to."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sentences import one_sentence

from labkit import data
from labkit.data import imagefolder, load, shapes
from labkit.experiment import Experiment


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path_factory):
    """No dataset from an earlier test, and a user's cache folder that belongs to this one."""
    data._load.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))


# --- shapes ------------------------------------------------------------------------------------

# These were computed once. If one differs, other images are drawn than those the notebooks' stored outputs
# came from: raise `shapes.VERSION` when that is meant.
SHAPES_TRAIN = "63b2b00df630eb1a1b0cf6ea38caf14c6a1b0843617a304d6a94275ab04ab7ca"
SHAPES_TEST = "7f3170bd1cb9368dc8e9e0551ac8af3b87af063c129695415401e677c2952221"


def test_shapes_are_the_same_images_on_every_machine():
    splits = load("shapes:100/20")
    assert (splits.train.digest, splits.test.digest) == (SHAPES_TRAIN, SHAPES_TEST)


def test_shapes_do_not_depend_on_the_global_generators():
    np.random.seed(1)
    torch.manual_seed(1)
    assert load("shapes:100/20").train.digest == SHAPES_TRAIN


@pytest.fixture(scope="module")
def many_shapes():
    """More than 5,000: they are drawn 500 a class at a time, and this needs a second round."""
    return dict(zip(("train", "test"), shapes.load(5_100, 100)))


@pytest.mark.parametrize("few", ["shapes:100/20", "shapes:205/25", "shapes:5010/100"])
def test_a_larger_set_of_shapes_begins_with_the_smaller_one(many_shapes, few):
    few = load(few)
    for part in ("train", "test"):
        small, large = getattr(few, part), many_shapes[part]
        assert torch.equal(large.images[: len(small)], small.images)
        assert torch.equal(large.labels[: len(small)], small.labels)


def test_shapes_are_ten_balanced_classes_of_32_pixels_in_colour():
    splits = load("shapes:205/30")
    assert splits.classes == ("circle", "ring", "crescent", "square", "bar", "cross", "triangle", "pentagon", "star", "heart")
    assert splits.train.images.shape == (205, 3, 32, 32) and splits.test.images.shape == (30, 3, 32, 32)
    assert splits.train.counts == [21] * 5 + [20] * 5
    assert splits.test.counts == [3] * 10


def test_no_image_of_shapes_comes_twice_in_one_part_or_in_both(many_shapes):
    images = [image.numpy().tobytes() for part in many_shapes.values() for image in part.images]
    assert len(set(images)) == len(images) == 5_200


def test_the_drawn_images_use_the_whole_range_of_brightness():
    images = load("shapes:200/20").train.images
    assert (int(images.min()), int(images.max())) == (0, 255)
    assert 80 < images.float().mean() < 180


# --- a folder of images ------------------------------------------------------------------------

PIXELS = {"cat": (200, 10, 30), "dog": (10, 200, 30)}


def write_image(path, colour, size=(8, 6)):
    """PNG keeps every pixel, so that what comes back can be compared exactly; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """train: two cats and a dog; test: one of each. The pixels tell class, part and number."""
    root = tmp_path / "pets"
    for name, (red, green, blue) in PIXELS.items():
        for part, count in (("train", 2 if name == "cat" else 1), ("test", 1)):
            for i in range(count):
                write_image(root / part / name / f"{i:03d}.png", (red + i, green, blue + (part == "test")))
    return root


def colours(image_set):
    """The colour of each image, which is the same in all its pixels."""
    assert (image_set.images == image_set.images[:, :, :1, :1]).all()
    return [tuple(image[:, 0, 0].tolist()) for image in image_set.images]


def read(root, size=None):
    """Load as a fresh process would."""
    data._load.cache_clear()
    return load(f"imagefolder:{root}" + (f"@{size}" if size else ""))


def cache_file(root):
    return root / ".labkit" / "decoded.pt"


def user_cache_files():
    return sorted(path.name for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if path.is_file())


def fail_to_decode(monkeypatch):
    def decode(path, *arguments):
        raise AssertionError(f"{path} was decoded again")

    monkeypatch.setattr(imagefolder, "_decode", decode)


def test_a_folder_gives_its_images_sorted_by_class_and_name(folder):
    splits = read(folder)
    assert splits.classes == ("cat", "dog")
    assert colours(splits.train) == [(200, 10, 30), (201, 10, 30), (10, 200, 30)]
    assert colours(splits.test) == [(200, 10, 31), (10, 200, 31)]
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 0, 1], [0, 1])
    assert splits.train.images.shape == (3, 3, 6, 8)


def test_images_lie_in_memory_as_their_shape_says_decoded_or_cached(folder):
    # Channels last in memory would make of every batch a gather of single bytes instead of whole images.
    for _ in range(2):
        splits = read(folder)
        assert splits.train.images.is_contiguous() and splits.test.images.is_contiguous()


def test_what_was_loaded_is_printed_once(folder, capsys):
    read(folder)
    load(f"imagefolder:{folder}")
    assert capsys.readouterr().out == f"imagefolder:{folder}: 3 training and 2 test images, 8×6 pixels, 2 classes\n"


def test_a_second_call_returns_the_same_object(folder):
    assert load(f"imagefolder:{folder}") is load(f"imagefolder:{folder}")


def test_grey_palette_and_transparent_images_become_colour(folder):
    Image.new("L", (8, 6), 77).save(folder / "train/cat/a.png")
    Image.new("P", (8, 6), 0).save(folder / "train/cat/b.gif")
    Image.new("RGBA", (8, 6), (1, 2, 3, 0)).save(folder / "train/cat/c.png")
    assert colours(read(folder).train)[2:5] == [(77, 77, 77), (0, 0, 0), (1, 2, 3)]


def test_files_that_are_no_images_and_hidden_folders_are_passed_over(folder):
    (folder / "train/cat/Thumbs.db").write_bytes(b"x")
    (folder / "train/readme.txt").write_text("x")
    (folder / "train/.ipynb_checkpoints").mkdir()
    assert len(read(folder).train) == 3


def test_the_layout_training_and_evaluation_is_known_too(folder):
    (folder / "train").rename(folder / "training")
    (folder / "test").rename(folder / "evaluation")
    splits = read(folder)
    assert (len(splits.train), len(splits.test)) == (3, 2)
    assert colours(splits.test) == [(200, 10, 31), (10, 200, 31)]


# --- a validation part of its own --------------------------------------------------------------


@pytest.fixture
def food(tmp_path):
    """Three classes in the layout of Food-11: two images for training, one for validation and one to test; no two are equally large."""
    root = tmp_path / "food"
    for label, name in enumerate(("Bread", "Dairy product", "Rice")):
        for number, part in enumerate(("training", "training", "validation", "evaluation")):
            write_image(root / part / name / f"{label}_{number}.jpg", (40 * number, 80, 80 * label), size=(50 + 7 * label, 30 + 11 * number))
    return root


def test_the_layout_of_food_11_has_a_validation_part(food, capsys):
    splits = read(food, size=16)
    assert splits.classes == ("Bread", "Dairy product", "Rice")
    assert [part.images.shape for part in (splits.train, splits.valid, splits.test)] == [(6, 3, 16, 16), (3, 3, 16, 16), (3, 3, 16, 16)]
    assert splits.valid.labels.tolist() == splits.test.labels.tolist() == [0, 1, 2]
    assert abs(splits.valid.images[:, 0].float().mean() - 80) < 3 and abs(splits.test.images[:, 0].float().mean() - 120) < 3
    assert capsys.readouterr().out == f"imagefolder:{food}@16: 6 training, 3 validation and 3 test images, 16×16 pixels, 3 classes\n"


def test_food_11_without_a_size_asks_for_one(food):
    with one_sentence("differ in size", "50×30", "50×41", "imagefolder:PATH@64"):
        read(food)


@pytest.mark.parametrize("name", ["valid", "val", "validation"])
def test_the_validation_folder_has_several_names(folder, name):
    write_image(folder / name / "cat" / "0.png", (1, 2, 3))
    write_image(folder / name / "dog" / "0.png", (4, 5, 6))
    assert colours(read(folder).valid) == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.parametrize("name", ["shapes:100/20", "a folder of two parts"])
def test_a_dataset_without_a_validation_part_has_none(folder, name):
    assert (load(name) if name.startswith("shapes") else read(folder)).valid is None


def test_a_class_that_the_validation_part_lacks_or_adds_is_named(folder):
    write_image(folder / "valid" / "cat" / "0.png", (1, 2, 3))
    with one_sentence("class 'dog'", "is in train and test only", "same class folders"):
        read(folder)
    for name in ("dog", "bird"):
        write_image(folder / "valid" / name / "0.png", (1, 2, 3))
    with one_sentence("class 'bird'", "is in valid only", "same class folders"):
        read(folder)


def test_the_validation_part_comes_out_of_the_cache_and_counts_in_the_fingerprint(food, monkeypatch):
    first, before = read(food, size=16), data.fingerprint(f"imagefolder:{food}")
    with monkeypatch.context() as patch:
        fail_to_decode(patch)
        assert read(food, size=16).valid.digest == first.valid.digest
    write_image(food / "validation" / "Rice" / "2_9.jpg", (9, 9, 9), size=(33, 44))
    assert len(read(food, size=16).valid) == 4
    assert data.fingerprint(f"imagefolder:{food}") != before


def test_an_experiment_chooses_by_the_validation_part_of_the_dataset(food):
    settings = {"data": f"imagefolder:{food}@16", "normalization": "unit", "batch_size": 2}
    splits = read(food, size=16)
    loaders, facts = Experiment(**settings, valid=0.1).loaders("cpu")
    assert loaders["valid"].dataset.digest == splits.valid.digest and len(loaders["train"].dataset) == 6
    assert (facts["train_images"], facts["valid_images"], facts["test_images"]) == (6, 3, 3)
    assert Experiment(**settings, valid=0).loaders("cpu")[0].keys() == {"train", "test"}


def test_other_validation_images_are_other_data_for_a_run_that_uses_them(food):
    def digests():
        data._load.cache_clear()
        experiments = [Experiment(data=f"imagefolder:{food}@16", normalization="unit", batch_size=2, valid=valid) for valid in (0.1, 0)]
        return [experiment.loaders("cpu")[1]["data_digest"] for experiment in experiments]

    before = digests()
    write_image(food / "validation" / "Rice" / "2_2.jpg", (200, 0, 0), size=(64, 52))
    after = digests()
    assert after[0] != before[0] and after[1] == before[1]


# --- resizing ----------------------------------------------------------------------------------


def test_size_resizes_every_image_to_a_square(folder):
    write_image(folder / "test/dog/large.png", (1, 2, 3), size=(40, 30))
    splits = read(folder, size=16)
    assert splits.train.images.shape == (3, 3, 16, 16) and splits.test.images.shape == (3, 3, 16, 16)
    assert colours(splits.test)[2] == (1, 2, 3)


def test_resizing_averages_pixels_instead_of_dropping_them(folder):
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(folder / "train/cat/000.png")
    small = read(folder, size=2).train.images[0]
    # Antialiased, black and white stripes become grey; sampled, they would stay black or white.
    assert small.float().mean() == pytest.approx(100, abs=5) and small.float().std() < 30


def test_images_of_unequal_size_ask_for_a_size(folder):
    odd = write_image(folder / "train/dog/large.png", (1, 2, 3), size=(40, 30))
    with one_sentence(f"{folder / 'train/cat/000.png'} is 8×6 pixels", f"{odd} is 40×30", "imagefolder:PATH@64"):
        read(folder)
    assert not cache_file(folder).exists()


def test_images_of_unequal_size_are_refused_before_all_are_decoded(folder, monkeypatch):
    """A folder of large photographs would fill the memory first: only the size in the file's header is looked at."""
    for path in folder.rglob("*.png"):
        write_image(path, (1, 2, 3), size=(40, 30) if path.name == "001.png" else (8, 6))
    decoded = []
    convert = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: decoded.append(image.size) or convert(image, mode))
    with one_sentence("differ in size"):
        read(folder)
    assert (40, 30) not in decoded


def test_train_and_test_of_unequal_size_ask_for_a_size_too(folder):
    for path in (folder / "test").rglob("*.png"):
        write_image(path, (1, 2, 3), size=(40, 30))
    with one_sentence("differ in size", "8×6", "40×30", "imagefolder:PATH@64"):
        read(folder)


def test_a_size_of_zero_is_refused(folder):
    with one_sentence("size", "at least 1"):
        load(f"imagefolder:{folder}@0")


# --- the cache ---------------------------------------------------------------------------------


def test_the_second_load_decodes_nothing(folder, monkeypatch):
    first = read(folder)
    fail_to_decode(monkeypatch)
    second = read(folder)
    assert (second.train.digest, second.test.digest) == (first.train.digest, first.test.digest)
    assert os.listdir(folder / ".labkit") == ["decoded.pt"]


def test_a_copy_of_a_file_with_a_new_time_of_change_is_decoded_again(folder):
    read(folder)
    path = folder / "train/dog/000.png"
    before = path.stat()
    write_image(path, (11, 200, 30))
    assert path.stat().st_size == before.st_size  # only the time of change tells
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    assert colours(read(folder).train)[2] == (11, 200, 30)


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_added_file_is_seen(folder, part):
    before = len(getattr(read(folder), part))
    write_image(folder / part / "dog" / "new.png", (1, 2, 3))
    after = getattr(read(folder), part)
    assert len(after) == before + 1 and colours(after)[-1] == (1, 2, 3)


def test_a_removed_file_is_missed(folder):
    read(folder)
    (folder / "train/cat/001.png").unlink()
    assert colours(read(folder).train) == [(200, 10, 30), (10, 200, 30)]


def test_a_file_moved_to_another_class_changes_its_label(folder):
    read(folder)
    (folder / "train/cat/001.png").rename(folder / "train/dog/001.png")
    assert read(folder).train.counts == [1, 2]


def test_the_cache_of_one_size_is_not_taken_for_another(folder):
    assert [read(folder, size).train.images.shape[-1] for size in (16, None, 8)] == [16, 8, 8]


def overwrite(cache):
    cache.write_bytes(b"this is no cache")


def cut_short(cache):
    cache.write_bytes(cache.read_bytes()[:-200])


def empty(cache):
    cache.write_bytes(b"")


def other_content(cache):
    torch.save([1, 2, 3], cache)


def flip_a_pixel(cache):
    """One byte amid the images: `torch.load` itself does not notice."""
    content = bytearray(cache.read_bytes())
    content[content.index(bytes([200] * 20)) + 5] ^= 1
    cache.write_bytes(content)


@pytest.mark.parametrize("damage", [overwrite, cut_short, empty, other_content, flip_a_pixel])
def test_a_damaged_cache_is_ignored_and_replaced(folder, monkeypatch, damage):
    expected = read(folder).train.digest
    damage(cache_file(folder))
    assert read(folder).train.digest == expected
    fail_to_decode(monkeypatch)
    assert read(folder).train.digest == expected


def test_a_folder_that_cannot_be_written_is_cached_for_the_user(folder, monkeypatch):
    (folder / ".labkit").write_text("in the way: stops even an administrator from making the folder")
    expected = read(folder).train.digest
    assert user_cache_files() == ["decoded.pt"]
    fail_to_decode(monkeypatch)
    assert read(folder).train.digest == expected


def test_a_cache_that_can_be_written_nowhere_is_said_and_the_images_still_come(folder, monkeypatch, tmp_path, capsys):
    (folder / ".labkit").write_text("in the way")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(read(folder).train) == 3
    assert f"no room to cache the decoded images of {folder}" in capsys.readouterr().out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full to fill a disk")
def test_a_disk_that_fills_while_the_cache_is_written_leaves_no_half_of_it(folder, monkeypatch):
    part = cache_file(folder).with_name(f"decoded.pt.{os.getpid()}.part")
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    assert len(read(folder).train) == 3
    assert os.listdir(folder / ".labkit") == []
    assert user_cache_files() == ["decoded.pt"]


def test_two_folders_do_not_share_the_cache_of_the_user(folder, tmp_path):
    other = tmp_path / "other"
    for part in ("train", "test"):
        write_image(other / part / "bird" / "0.png", (9, 9, 9))
    for root in (folder, other):
        (root / ".labkit").write_text("in the way")
        read(root)
    assert user_cache_files() == ["decoded.pt"] * 2
    assert (read(folder).classes, read(other).classes) == (("cat", "dog"), ("bird",))


# --- faults of a folder ------------------------------------------------------------------------


def cut(path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:80])


def text(path):
    path.write_text("<html>404</html>")


def nothing(path):
    path.write_bytes(b"")


def bad_header(path):
    path.write_bytes(b"P6 8 6x 255 ")  # Pillow's reader of PPM raises a bare ValueError


@pytest.mark.parametrize("damage", [cut, text, nothing, bad_header])
def test_an_unreadable_image_is_named_and_nothing_is_cached(folder, damage):
    bad = folder / "train/dog/bad.png"
    damage(bad)
    with one_sentence(f"{bad} cannot be read as an image", "replace or delete it"):
        read(folder)
    assert not cache_file(folder).exists() and user_cache_files() == []
    bad.unlink()
    assert len(read(folder).train) == 3


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_empty_class_is_named(folder, part):
    (folder / part / "bird").mkdir()
    (folder / part / "bird" / "notes.txt").write_text("x")
    with one_sentence(f"class folder {folder / part / 'bird'} holds no image", ".jpg", "remove the folder"):
        read(folder)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_in_one_part_only_is_named(folder, part):
    write_image(folder / part / "bird" / "0.png", (1, 2, 3))
    with one_sentence("class 'bird'", f"is in {part} only", "same class folders"):
        read(folder)


def test_a_missing_folder_is_named(tmp_path):
    with one_sentence(f"there is no folder {tmp_path / 'nowhere'}", "holds train/ and test/"):
        read(tmp_path / "nowhere")


def test_the_folder_above_the_right_one_says_what_it_found_there(folder):
    with one_sentence(f"{folder.parent} holds no folder train/", "train/<class>/*", "found pets"):
        read(folder.parent)


def test_the_train_folder_itself_says_to_give_the_folder_above(folder):
    with one_sentence(f"{folder / 'train'} holds no folder train/", "found cat, dog", "give the folder above train/"):
        read(folder / "train")


def test_a_folder_without_a_test_part_says_so(folder):
    (folder / "test").rename(folder / "holdout")
    with one_sentence(f"{folder} holds no folder test/", "test/<class>/*"):
        read(folder)


def test_images_without_class_folders_are_refused(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "0.png", (1, 2, 3))
    with one_sentence(f"{tmp_path / 'train'} holds no class folder", "train/<class>/*"):
        read(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with one_sentence(f"{tmp_path} holds no folder train/", "found nothing"):
        read(tmp_path)


def test_a_folder_below_the_data_root_is_called_the_same_from_everywhere(folder, tmp_path, monkeypatch):
    name = f"imagefolder:{folder.name}"
    monkeypatch.setenv("LABKIT_DATA_ROOT", str(folder.parent))
    for place in (tmp_path / "a", tmp_path / "b"):
        place.mkdir()
        monkeypatch.chdir(place)
        assert load(name).name == name and data.fingerprint(name) == data.fingerprint(f"imagefolder:{folder}")
    monkeypatch.delenv("LABKIT_DATA_ROOT")
    assert len(load(name, root=folder.parent).train) == 3 and data.fingerprint(name) is None


def test_a_folder_here_goes_before_one_of_that_name_below_the_data_root(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA_ROOT", str(folder.parent))
    (tmp_path / "here" / folder.name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with one_sentence(f"{folder.name} holds no folder train/"):
        load(f"imagefolder:{folder.name}")


# --- fingerprint -------------------------------------------------------------------------------


def test_the_fingerprint_of_a_folder_names_its_content_and_not_its_place_or_time(folder, tmp_path):
    name = f"imagefolder:{folder}"
    before = data.fingerprint(name)
    os.utime(folder / "train/cat/000.png", ns=(1, 1))
    read(folder)  # which leaves a cache in the folder
    assert data.fingerprint(name) == before
    folder.rename(tmp_path / "elsewhere")
    assert data.fingerprint(f"imagefolder:{tmp_path / 'elsewhere'}@16") == before
    (tmp_path / "elsewhere/train/cat/000.png").rename(tmp_path / "elsewhere/train/dog/001.png")
    assert data.fingerprint(f"imagefolder:{tmp_path / 'elsewhere'}") != before


def test_the_fingerprint_notices_a_file_of_another_size(folder):
    before = data.fingerprint(f"imagefolder:{folder}")
    with open(folder / "train/cat/000.png", "ab") as file:
        file.write(b"x")
    assert data.fingerprint(f"imagefolder:{folder}") != before


def test_the_fingerprint_reads_no_pixel(folder, monkeypatch):
    fail_to_decode(monkeypatch)
    assert len(data.fingerprint(f"imagefolder:{folder}")) == 64
    assert not cache_file(folder).exists()


def test_the_fingerprint_of_absent_data_is_none(tmp_path):
    assert data.fingerprint(f"imagefolder:{tmp_path / 'nowhere'}") is None


def test_the_fingerprints_of_the_other_sources_are_fixed():
    assert data.fingerprint("cifar10") == "c58f30108f718f92721af3b95e74349a"  # the MD5 that its authors publish
    assert data.fingerprint("shapes") == data.fingerprint("shapes:100/20") == "shapes version 1"


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar100", "CIFAR10", "", "shapes:100", "shapes:100/-20", "imagefolder:", "shapes:a/b", None, 10, ["cifar10"]])
def test_an_unknown_dataset_lists_what_is_accepted(name):
    for ask in (load, data.fingerprint):
        with one_sentence(f"unknown dataset {name!r}", "cifar10", "imagefolder:PATH", "shapes:TRAIN/TEST"):
            ask(name)


@pytest.mark.parametrize("name", ["shapes:9/10", "shapes:100/0"])
def test_shapes_fewer_than_classes_are_refused(name):
    with one_sentence(name, "fewer images than there are classes", "at least 10"):
        load(name)
