"""The streams of random numbers of hyperalign-core, so that both sides draw the same noise.

Philox 4x32 of ten rounds (Salmon et al. 2011), uniform numbers of 53 bits, and normals by Box and
Muller's transform in f64.
"""

import math

import torch

START, SAMPLER, SEARCH = 1, 2, 11
WORD = 0xFFFFFFFF


class Stream:
    def __init__(self, seed: int, purpose: int, step: int, index: int):
        self.key = [seed & WORD, seed >> 32]
        self.counter = [0, index, step, purpose]
        self.words: list[int] = []
        self.spare = None

    def bits(self) -> int:
        if not self.words:
            self.words = philox(self.counter, self.key)
            self.counter[0] = (self.counter[0] + 1) & WORD
        return self.words.pop(0)

    def uniform(self) -> float:
        high, low = self.bits() >> 5, self.bits() >> 6
        return (high * 67_108_864 + low) / 9_007_199_254_740_992

    def range(self, low: float, high: float) -> float:
        return low + (high - low) * self.uniform()

    def below(self, n: int) -> int:
        return min(int(self.uniform() * n), n - 1)

    def normal(self) -> float:
        if self.spare is not None:
            spare, self.spare = self.spare, None
            return spare
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        angle = math.tau * self.uniform()
        self.spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def normals(self, count: int) -> list[float]:
        return [self.normal() for _ in range(count)]


def philox(counter: list[int], key: list[int]) -> list[int]:
    counter, key = list(counter), list(key)
    for _ in range(10):
        a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (b >> 32) ^ counter[1] ^ key[0],
            b & WORD,
            (a >> 32) ^ counter[3] ^ key[1],
            a & WORD,
        ]
        key = [(key[0] + 0x9E3779B9) & WORD, (key[1] + 0xBB67AE85) & WORD]
    return counter


def normal(streams: list[Stream], shape: tuple[int, ...]) -> torch.Tensor:
    """A row of `shape` from each stream, in f32."""
    rows = [torch.tensor(stream.normals(math.prod(shape)), dtype=torch.float64) for stream in streams]
    return torch.stack(rows).float().reshape(len(rows), *shape)
