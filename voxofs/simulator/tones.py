"""Draws the words that recordings are made of; only needed to make `tones.mp3` anew.

    python -m voxofs.simulator.tones > tones.wav
    lame --quiet --nores -t -m m --resample 8 --cbr -b 16 tones.wav tones.mp3
    # drop the first frame (the encoder's delay) and what comes after 39 words of 7 frames:
    dd if=tones.mp3 of=voxofs/simulator/tones.mp3 bs=144 skip=1 count=273

`--nores` switches the bit reservoir off and `-t` leaves the LAME tag out: every frame stands alone. A word
is silent at both ends, longer than frames overlap, so words may follow each other in any order.
"""

from __future__ import annotations

import array
import math
import sys
import wave
from collections.abc import Callable

RATE = 8_000
"""Samples a second, as telephones have (ITU-T G.711)."""
WORD_SAMPLES = 7 * 576
"""Whole frames: layer III of MPEG-2 has 576 samples in one."""
_SILENT_SAMPLES = 700
"""At both ends of a word: longer than a frame and its overlap into the next."""
_FADE_SAMPLES = 400
"""50 ms, so that a tone begins and ends without a click (by ear)."""
_NOTES = (523.25, 587.33, 659.25, 783.99, 880.0, 1046.5, 392.0, 440.0, 329.63, 293.66, 261.63, 493.88)

Tone = Callable[[float], float]


def _sine(*pitches: float) -> Tone:
    return lambda t_s: sum(math.sin(2 * math.pi * pitch * t_s) for pitch in pitches) / len(pitches)


def _struck(pitch: float) -> Tone:
    return lambda t_s: 1.2 * math.sin(2 * math.pi * pitch * t_s) * math.exp(-4 * max(0.0, t_s - 0.09))


def words() -> list[Tone]:
    """Twelve touch tones, ringing, dial tone, twelve notes, twelve chords, silence."""
    keys = [_sine(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477)]
    notes = [_struck(note) for note in _NOTES]
    chords = [_sine(note, note * 1.25, note * 1.5) for note in _NOTES]
    return [*keys, _sine(440, 480), _sine(350, 440), *notes, *chords, lambda t_s: 0.0]


def samples(tone: Tone) -> list[int]:
    """One word as 16-bit samples."""
    drawn = []
    for at in range(WORD_SAMPLES):
        inside = min(at, WORD_SAMPLES - at) - _SILENT_SAMPLES
        loudness = min(1.0, max(0, inside) / _FADE_SAMPLES)
        drawn.append(int(9_000 * loudness * tone(at / RATE)))
    return drawn


def main() -> None:
    """Write the WAV file to standard output."""
    data = array.array("h", [sample for tone in words() for sample in samples(tone)])
    with wave.open(sys.stdout.buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(data.tobytes())


if __name__ == "__main__":
    main()
