"""The demo's voices: short narrations that can be played, synthesised from plain arithmetic.

Every vowel of the text becomes a syllable: a wave whose overtones are as loud as that vowel's two
lowest formants make them, at the pitch and in the manner of the voice. It is no speech, but five
voices that can be told apart, made without any library, and the same at every call.
"""

from __future__ import annotations

import io
import math
import random
import wave
from array import array
from dataclasses import dataclass
from functools import lru_cache

RATE = 16_000
"""Samples in a second; 16 bits each, one channel."""
_CYCLE = 256
_SINE = [math.sin(2 * math.pi * step / _CYCLE) for step in range(_CYCLE)]
_FORMANTS = {
    "a": (800, 1200),
    "e": (500, 1900),
    "i": (300, 2300),
    "o": (500, 900),
    "u": (320, 800),
}
"""The two lowest formants of a vowel in Hz, roughly those of an adult speaker."""
_BANDWIDTH = 120.0
_LOUDEST = 14_000


@dataclass(frozen=True, slots=True)
class Voice:
    """Pitch in Hz, seconds a syllable, and three shares from 0 to 1.

    ``breath`` is noise instead of tone, ``growl`` a roughness at ``growl_rate`` times a second,
    ``fall`` how far the pitch sinks over the narration.
    """

    pitch: float
    pace: float
    breath: float = 0.0
    growl: float = 0.0
    growl_rate: float = 28.0
    fall: float = 0.2


VOICES = {
    "ghostly_whisper": Voice(pitch=190, pace=0.16, breath=0.85),
    "demonic_growl": Voice(pitch=68, pace=0.19, growl=0.8),
    "eerie_narrator": Voice(pitch=118, pace=0.15, fall=0.3),
    "possessed_child": Voice(pitch=310, pace=0.12, growl=0.35, growl_rate=9, fall=-0.4),
    "ancient_entity": Voice(pitch=52, pace=0.24, breath=0.25, growl=0.4, growl_rate=5),
}


def speak(voice_style: str, text: str) -> bytes:
    """``text`` in one of ``VOICES``, as the bytes of a WAV file: about a second and a half."""
    voice = VOICES[voice_style]
    vowels = [letter for letter in text.lower() if letter in _FORMANTS]
    chance = random.Random(f"{voice_style}:{text}")
    samples = array("h")
    for number, vowel in enumerate(vowels):
        share = number / max(1, len(vowels) - 1)
        pitch = voice.pitch * (1 - voice.fall * share) * chance.uniform(0.94, 1.08)
        samples.extend(_syllable(voice, vowel, pitch, chance))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _syllable(voice: Voice, vowel: str, pitch: float, chance: random.Random) -> array[int]:
    cycle = _cycle(vowel, voice.pitch)
    length = int(voice.pace * RATE)
    noise = chance.random
    growl_step = voice.growl_rate * _CYCLE / RATE
    step = pitch * _CYCLE / RATE
    tone = (1 - voice.breath) * _LOUDEST
    breath = voice.breath * _LOUDEST / 2
    samples = array("h")
    for position in range(length):
        swell = min(position, length - position) / (length * 0.3)
        rough = 1 - voice.growl * (0.5 + 0.5 * _SINE[int(position * growl_step) % _CYCLE])
        sound = tone * cycle[int(position * step) % _CYCLE]
        if breath:
            sound += breath * (noise() * 2 - 1) * (0.4 + abs(cycle[position % _CYCLE]))
        samples.append(int(sound * rough * min(swell, 1.0)))
    return samples


@lru_cache(maxsize=64)
def _cycle(vowel: str, pitch: float) -> list[float]:
    """One period of ``vowel`` at about ``pitch``, from -1 to 1."""
    overtones = []
    for overtone in range(1, min(40, int(3_500 / pitch)) + 1):
        frequency = overtone * pitch
        loudness = sum(
            1 / (1 + ((frequency - formant) / _BANDWIDTH) ** 2) for formant in _FORMANTS[vowel]
        )
        overtones.append((overtone, 0.03 + loudness))
    found = [
        sum(loudness * _SINE[overtone * step % _CYCLE] for overtone, loudness in overtones)
        for step in range(_CYCLE)
    ]
    peak = max(abs(value) for value in found)
    return [value / peak for value in found]
