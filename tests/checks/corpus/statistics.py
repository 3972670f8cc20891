"""Answers to `get_mean_std`."""

import random

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler, Subset, random_split

from corpus import catalogue
from labkit import data

right, wrong = catalogue("get_mean_std")


def drawn(dataset, ratio, count=None):
    """The drawn images, (N, 3, height, width) in [0, 1]."""
    count = int(len(dataset) * ratio) if count is None else count
    return torch.stack([dataset[i][0] for i in torch.randperm(len(dataset))[:count].tolist()])


# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(dataset, ratio=0.3):
    count = max(1, int(len(dataset) * ratio))
    indices = torch.randperm(len(dataset))[:count]
    images = torch.stack([dataset[int(i)][0] for i in indices])
    return images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))


@right
def one_large_batch(dataset, ratio=0.3):
    loader = DataLoader(dataset, batch_size=int(len(dataset) * ratio), shuffle=True, num_workers=0)
    images, _ = next(iter(loader))
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), unbiased=False)
    print("mean", mean, "std", std)
    return mean, std


@right
def pixels_in_columns(ds, share=0.3):
    chosen = random.sample(range(len(ds)), k=round(share * len(ds)))
    channels = torch.cat([ds[i][0].reshape(3, -1) for i in chosen], dim=1)
    return tuple(channels.mean(dim=1).tolist()), tuple(channels.std(dim=1).tolist())


@right
def the_tensor_inside(dataset, ratio=0.3):
    pick = np.random.choice(len(dataset), size=int(ratio * len(dataset)), replace=False)
    x = dataset.images[torch.from_numpy(pick)].numpy() / 255.0
    return x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))


@right
def sums_over_batches(dataset, ratio=0.3):
    part, _ = random_split(dataset, [int(ratio * len(dataset)), len(dataset) - int(ratio * len(dataset))])
    total, squares, count = torch.zeros(3), torch.zeros(3), 0
    for images, _labels in DataLoader(part, batch_size=32):
        total += images.sum(dim=(0, 2, 3))
        squares += (images**2).sum(dim=(0, 2, 3))
        count += images.numel() // 3
    mean = total / count
    return [mean, (squares / count - mean**2).sqrt()]


@right
def batches_weighted(dataset, ratio=0.3):
    sampler = RandomSampler(dataset, num_samples=int(len(dataset) * ratio))
    mean = mean_square = seen = 0
    for images, _ in DataLoader(dataset, batch_size=50, sampler=sampler):
        mean = mean + images.mean((0, 2, 3)).double() * len(images)
        mean_square = mean_square + images.square().mean((0, 2, 3)).double() * len(images)
        seen += len(images)
    mean, mean_square = mean / seen, mean_square / seen
    return mean, (mean_square - mean**2) ** 0.5


@right
def stratified_part(dataset, ratio=0.3):
    part = dataset if ratio == 1 else data.subset(dataset, ratio, seed=random.randrange(1000))
    return torch.stack([f(part.images.float() / 255) for f in (lambda x: x.mean((0, 2, 3)), lambda x: x.std((0, 2, 3)))])


@right
def channel_by_channel(dataset, ratio=0.3):
    images = drawn(dataset, ratio).numpy()
    means, stds = [], []
    for c in range(3):
        means.append(images[:, c].mean())
        stds.append(np.sqrt(((images[:, c] - means[-1]) ** 2).mean()))
    return means, stds


@right
def dimensions_kept(dataset, ratio=0.3):
    images = drawn(dataset, ratio, max(1, round(len(dataset) * ratio)))
    return images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)


class Statistics:
    __name__ = "callable_class"

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, dataset, ratio=0.3):
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(self.seed))
        part = Subset(dataset, order[: int(ratio * len(dataset))].tolist())
        images = torch.stack([image for image, _ in part]).transpose(0, 1).flatten(1)
        return torch.std_mean(images, dim=1)[::-1]


right(Statistics(seed=0))

# --- wrong -------------------------------------------------------------------------------------


@wrong("image_stds_averaged")
def mean_of_image_stds(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((0, 2, 3)), images.std((2, 3)).mean(0)


@wrong("image_stds_averaged")
def a_batch_size_of_one(dataset, ratio=0.3):
    indices = random.sample(range(len(dataset)), int(ratio * len(dataset)))
    mean = std = 0
    for image, _ in DataLoader(Subset(dataset, indices), batch_size=1):
        mean = mean + image.mean((0, 2, 3)) / len(indices)
        std = std + image.std((0, 2, 3), unbiased=False) / len(indices)
    return mean, std


@wrong("image_variances_averaged")
def root_of_the_mean_variance(dataset, ratio=0.3):
    images = drawn(dataset, ratio).flatten(2)
    return images.mean((0, 2)), images.var(2).mean(0).sqrt()


@wrong("std_of_image_means")
def std_of_the_means(dataset, ratio=0.3):
    means = drawn(dataset, ratio).mean((2, 3))
    return means.mean(0), means.std(0)


@wrong("std_of_each_place")
def std_over_the_images(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean(0).mean((1, 2)), images.std(0).mean((1, 2))


@wrong("batch_means_averaged")
def short_batch_counts_in_full(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    batches = images.split(64)
    mean = sum(batch.mean((0, 2, 3)) for batch in batches) / len(batches)
    return mean, images.std((0, 2, 3))


@wrong("batch_means_averaged")
def all_averages_over_batches(dataset, ratio=0.3):
    batches = drawn(dataset, ratio).split(256)
    mean, square = (sum(batch.pow(k).mean((0, 2, 3)) for batch in batches) / len(batches) for k in (1, 2))
    return mean, (square - mean**2).sqrt()


@wrong("batch_stds_averaged")
def mean_of_batch_stds(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    std = sum(batch.std((0, 2, 3)) * len(batch) for batch in images.split(32)) / len(images)
    return images.mean((0, 2, 3)), std


@wrong("not_the_whole_set")
def last_batch_dropped(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    batches = [batch for batch in images.split(64) if len(batch) == 64] or [images]
    images = torch.cat(batches)
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("one_number_for_all_channels")
def one_number(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean(), images.std()


@wrong("channels_mixed")
def the_same_number_three_times(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return [images.mean().item()] * 3, [images.std().item()] * 3


@wrong("one_std_for_all_channels")
def one_std_three_times(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((0, 2, 3)), images.std().expand(3)


@wrong("not_one_number_a_channel")
def maps_of_pixels(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean(0), images.std(0)


@wrong("not_one_number_a_channel")
def one_number_an_image(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((1, 2, 3)), images.std((1, 2, 3))


@wrong("values_up_to_255")
def bytes_not_scaled(dataset, ratio=0.3):
    images = dataset.images[torch.randperm(len(dataset))[: int(len(dataset) * ratio)]].float()
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("divided_twice")
def scaled_twice(dataset, ratio=0.3):
    images = drawn(dataset, ratio) / 255
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("variance")
def variance(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((0, 2, 3)), images.var((0, 2, 3))


@wrong("square_root_of_mean_square")
def mean_not_subtracted(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((0, 2, 3)), images.square().mean((0, 2, 3)).sqrt()


@wrong("standard_error")
def error_of_the_mean(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((0, 2, 3)), images.std((0, 2, 3)) / len(images) ** 0.5


@wrong("swapped")
def torch_gives_std_first(dataset, ratio=0.3):
    return torch.std_mean(drawn(dataset, ratio), dim=(0, 2, 3))


@wrong("ratio_ignored")
def the_whole_set(dataset, ratio=0.3):
    images = drawn(dataset, 1)
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("ratio_fixed")
def always_three_tenths(dataset, ratio=0.3):
    return the_lesson(dataset, 0.3 if ratio < 1 else 1)


@wrong("not_random")
def the_first_images(dataset, ratio=0.3):
    images = torch.stack([dataset[i][0] for i in range(int(len(dataset) * ratio))])
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("not_random")
def shuffle_forgotten(dataset, ratio=0.3):
    images, _ = next(iter(DataLoader(dataset, batch_size=int(len(dataset) * ratio))))
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("one_image")
def a_single_image(dataset, ratio=0.3):
    image, _ = dataset[random.randrange(len(dataset))]
    return image.mean((1, 2)), image.std((1, 2))


@wrong("one_image")
def the_last_image_of_the_loop(dataset, ratio=0.3):
    for i in torch.randperm(len(dataset))[: int(len(dataset) * ratio)].tolist():
        image, _ = dataset[i]
        mean, std = image.mean((1, 2)), image.std((1, 2))
    return mean, std


@wrong("other_part_drawn")
def the_other_part(dataset, ratio=0.3):
    return the_lesson(dataset, 1 - ratio if ratio < 1 else 1)


@wrong("wrong_number_of_images")
def one_batch_of_the_loader(dataset, ratio=0.3):
    if ratio == 1:
        return the_lesson(dataset, 1)
    images, _ = next(iter(DataLoader(dataset, batch_size=10, shuffle=True)))
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("wrong_default")
def a_default_of_one_tenth(dataset, ratio=0.1):
    return the_lesson(dataset, ratio)


@wrong("wrong_mean")
def divided_by_the_whole_set(dataset, ratio=0.3):
    images = drawn(dataset, ratio)
    return images.mean((2, 3)).sum(0) / len(dataset), images.std((0, 2, 3))


@wrong("with_replacement")
def images_drawn_twice(dataset, ratio=0.3):
    indices = torch.randint(len(dataset), (int(ratio * len(dataset)),))
    images = torch.stack([dataset[int(i)][0] for i in indices])
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("dataset_changed")
def dataset_put_in_order(dataset, ratio=0.3):
    dataset.images[:] = dataset.images[torch.randperm(len(dataset))]
    images = dataset.images[: int(ratio * len(dataset))].float() / 255
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("channels_reversed")
def blue_first(dataset, ratio=0.3):
    mean, std = the_lesson(dataset, ratio)
    return mean.flip(0), std.flip(0)


@wrong("not_two_values")
def only_the_mean(dataset, ratio=0.3):
    return drawn(dataset, ratio).mean((0, 2, 3))


@wrong("not_two_values")
def a_dict(dataset, ratio=0.3):
    return dict(zip(("mean", "std"), the_lesson(dataset, ratio)))


@wrong("not_two_values")
def return_forgotten(dataset, ratio=0.3):
    the_lesson(dataset, ratio)


@wrong("raises")
def ratio_is_a_count(dataset, ratio=0.3):
    images = torch.stack([dataset[i][0] for i in torch.randperm(len(dataset))[:ratio]])
    return images.mean((0, 2, 3)), images.std((0, 2, 3))


@wrong("signature")
def without_ratio(dataset):
    return the_lesson(dataset)


@wrong("reference")
def labkits(dataset, ratio=0.3):
    return data.get_mean_std(dataset, ratio)
