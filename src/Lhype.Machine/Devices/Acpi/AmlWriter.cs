// Writes AML, the byte code of the DSDT: only the declarations the board needs (scopes, devices, names,
// packages, resource templates), no methods. Used by AcpiTables at set-up. Source: ACPI 6.4, chapter 20.

using System;
using System.Collections.Generic;
using System.Globalization;
using Lhype.Host;

namespace Lhype.Machine.Devices.Acpi;

/// <summary>Builds a term list.</summary>
internal sealed class AmlWriter
{
    private const byte NameOp = 0x08;
    private const byte BytePrefix = 0x0A;
    private const byte WordPrefix = 0x0B;
    private const byte DwordPrefix = 0x0C;
    private const byte ScopeOp = 0x10;
    private const byte BufferOp = 0x11;
    private const byte PackageOp = 0x12;
    private const byte ExtendedPrefix = 0x5B;
    private const byte DeviceOp = 0x82;
    private const byte RootCharacter = 0x5C;

    private readonly List<byte> _bytes = [];

    /// <summary>The bytes so far.</summary>
    public byte[] ToArray() => [.. _bytes];

    /// <summary>Opens an existing scope, e.g. <c>\_SB_</c>.</summary>
    public void Scope(string path, Action<AmlWriter> body)
    {
        AmlWriter inner = new();
        inner.PutName(path);
        body(inner);
        _bytes.Add(ScopeOp);
        PutWithLength(inner);
    }

    /// <summary>Declares a device.</summary>
    public void Device(string name, Action<AmlWriter> body)
    {
        AmlWriter inner = new();
        inner.PutName(name);
        body(inner);
        _bytes.Add(ExtendedPrefix);
        _bytes.Add(DeviceOp);
        PutWithLength(inner);
    }

    /// <summary>Declares a named integer.</summary>
    public void Name(string name, uint value)
    {
        PutNameOp(name);
        PutInteger(value);
    }

    /// <summary>Declares a named EISA id such as PNP0A03, compressed to an integer.</summary>
    public void NameEisaId(string name, string id)
    {
        PutNameOp(name);
        PutInteger(EisaId(id));
    }

    /// <summary>Declares a named package of integers.</summary>
    public void NamePackage(string name, ReadOnlySpan<uint> values)
    {
        PutNameOp(name);
        PutPackage(values);
    }

    /// <summary>Declares a named package of packages of integers.</summary>
    public void NamePackages(string name, IReadOnlyList<uint[]> packages)
    {
        AmlWriter inner = new();
        inner._bytes.Add(checked((byte)packages.Count));
        foreach (uint[] package in packages)
        {
            inner.PutPackage(package);
        }

        PutNameOp(name);
        _bytes.Add(PackageOp);
        PutWithLength(inner);
    }

    /// <summary>Declares a named resource template.</summary>
    public void NameResources(string name, ResourceTemplate resources)
    {
        byte[] template = resources.ToArray();
        AmlWriter inner = new();
        inner.PutInteger((uint)template.Length);
        inner._bytes.AddRange(template);
        PutNameOp(name);
        _bytes.Add(BufferOp);
        PutWithLength(inner);
    }

    /// <summary>Three letters of five bits and four hexadecimal digits, big-endian, stored as a little-endian
    /// integer (ACPI 6.4, 19.3.4).</summary>
    public static uint EisaId(string id)
    {
        Invariant.Check(id.Length == 7, "an EISA id has seven characters");
        int letters = ((id[0] - '@') << 10) | ((id[1] - '@') << 5) | (id[2] - '@');
        int digits = int.Parse(id.AsSpan(3), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(((uint)letters << 16) | (uint)digits);
    }

    private void PutNameOp(string name)
    {
        _bytes.Add(NameOp);
        PutName(name);
    }

    // A name is four characters, filled up with underscores; a leading backslash means the root.
    private void PutName(string name)
    {
        int start = 0;
        if (name[0] == '\\')
        {
            _bytes.Add(RootCharacter);
            start = 1;
        }

        Invariant.Check(name.Length - start is > 0 and <= 4, "an AML name segment has up to four characters");
        for (int i = 0; i < 4; i++)
        {
            _bytes.Add(start + i < name.Length ? (byte)name[start + i] : (byte)'_');
        }
    }

    private void PutInteger(uint value)
    {
        switch (value)
        {
            case 0 or 1:
                // ZeroOp and OneOp are the numbers themselves.
                _bytes.Add((byte)value);
                return;
            case <= byte.MaxValue:
                _bytes.Add(BytePrefix);
                PutLittleEndian(value, 1);
                return;
            case <= ushort.MaxValue:
                _bytes.Add(WordPrefix);
                PutLittleEndian(value, 2);
                return;
            default:
                _bytes.Add(DwordPrefix);
                PutLittleEndian(value, 4);
                return;
        }
    }

    private void PutLittleEndian(uint value, int count)
    {
        for (int i = 0; i < count; i++)
        {
            _bytes.Add((byte)(value >> (8 * i)));
        }
    }

    private void PutPackage(ReadOnlySpan<uint> values)
    {
        AmlWriter inner = new();
        inner._bytes.Add((byte)values.Length);
        foreach (uint value in values)
        {
            inner.PutInteger(value);
        }

        _bytes.Add(PackageOp);
        PutWithLength(inner);
    }

    // PkgLength counts itself: one byte up to 63, else four bits and one or two more bytes (20.2.4).
    private void PutWithLength(AmlWriter inner)
    {
        int length = inner._bytes.Count;
        if (length + 1 <= 0x3F)
        {
            _bytes.Add((byte)(length + 1));
        }
        else
        {
            int extra = length + 2 <= 0xFFF ? 1 : 2;
            int total = length + 1 + extra;
            Invariant.Check(total < 1 << 20, "AML package too long");
            _bytes.Add((byte)((extra << 6) | (total & 0x0F)));
            PutLittleEndian((uint)total >> 4, extra);
        }

        _bytes.AddRange(inner._bytes);
    }
}
