// A few host functions cannot be written in C#: the signal handler, and instructions without an intrinsic.
// They are hand-encoded with this writer, which only knows bytes, labels and 32-bit relative jumps. Used by
// FaultHandler, GuardedAccess and HostClock; the translator has its own emitter.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Lhype.Host;

/// <summary>Collects machine code for a fixed address-independent stub.</summary>
internal sealed class StubWriter
{
    private readonly List<byte> _code = [];
    private readonly List<(int At, string Label)> _jumps = [];
    private readonly Dictionary<string, int> _labels = [];

    /// <summary>Bytes appended so far.</summary>
    internal int Length => _code.Count;

    /// <summary>Appends encoded instructions.</summary>
    internal StubWriter Bytes(params ReadOnlySpan<byte> code)
    {
        foreach (byte value in code)
        {
            _code.Add(value);
        }

        return this;
    }

    /// <summary>Appends <paramref name="opcode"/> and an 8-byte immediate.</summary>
    internal StubWriter Imm64(ReadOnlySpan<byte> opcode, nint value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return Bytes(opcode).Bytes(bytes);
    }

    /// <summary>Appends a jump (opcode without displacement) to <paramref name="label"/>.</summary>
    internal StubWriter Jump(ReadOnlySpan<byte> opcode, string label)
    {
        Bytes(opcode);
        _jumps.Add((_code.Count, label));
        return Bytes(0, 0, 0, 0);
    }

    /// <summary>Defines <paramref name="label"/> here.</summary>
    internal StubWriter Label(string label)
    {
        _labels.Add(label, _code.Count);
        return this;
    }

    /// <summary>The finished code, jumps resolved.</summary>
    internal byte[] Finish()
    {
        byte[] code = [.. _code];
        foreach ((int at, string label) in _jumps)
        {
            BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(at), _labels[label] - (at + 4));
        }

        return code;
    }
}
