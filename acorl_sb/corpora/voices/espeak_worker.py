"""Speak a list of texts with eSpeak NG; run as a program of its own, never imported.

eSpeak NG keeps its state in globals that survive its own re-initialisation, so what it says depends
on what it said before. A fresh process for each voice makes the audio depend on the request alone,
and importing nothing beyond the standard library starts it in some 50 ms.

Standard input: JSON ``{"library", "data", "jobs": [{"voice", "text", "rate", "pitch", "range"}]}``.
Standard output: the sample rate as a little-endian uint32; then for each job the number of samples
as a little-endian uint32 and the samples as 16-bit integers.
"""

import ctypes
import json
import struct
import sys

# From espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
ESPEAK_INITIALIZE_DONT_EXIT = 0x8000
ESPEAK_CHARS_UTF8 = 1
ESPEAK_RATE, ESPEAK_PITCH, ESPEAK_RANGE = 1, 3, 4

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main() -> int:
    request = json.load(sys.stdin)
    library = ctypes.CDLL(request["library"])
    blocks = []

    def receive(samples, count, events):
        if samples and count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = CALLBACK(receive)  # kept in a variable: the library does not own it
    rate = library.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS, 0, request["data"].encode(), ESPEAK_INITIALIZE_DONT_EXIT
    )
    if rate <= 0:
        print(f"no eSpeak NG data at {request['data']}", file=sys.stderr)
        return 1
    library.espeak_SetSynthCallback(callback)
    if hasattr(library, "espeak_ng_SetRandSeed"):  # otherwise seeded with the time
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    out = sys.stdout.buffer
    out.write(struct.pack("<I", rate))
    for job in request["jobs"]:
        blocks.clear()
        if library.espeak_SetVoiceByName(job["voice"].encode()) != 0:
            print(f"eSpeak NG has no voice {job['voice']!r}", file=sys.stderr)
            return 1
        library.espeak_SetParameter(ESPEAK_RATE, job["rate"], 0)
        library.espeak_SetParameter(ESPEAK_PITCH, job["pitch"], 0)
        library.espeak_SetParameter(ESPEAK_RANGE, job["range"], 0)
        text = job["text"].encode()
        library.espeak_Synth(
            text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, ESPEAK_CHARS_UTF8, None, None
        )
        library.espeak_Synchronize()
        samples = b"".join(blocks)
        out.write(struct.pack("<I", len(samples) // 2))
        out.write(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
