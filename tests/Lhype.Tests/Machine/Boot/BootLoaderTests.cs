// What the loader leaves in guest memory and how it starts the vCPU, field by field against boot.rst,
// zero-page.rst and the multiboot specification; and that what does not fit is refused.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;
using Xunit;

namespace Lhype.Tests.Machine.Boot;

public sealed class BootLoaderTests : IDisposable
{
    private const ulong MemoryBytes = 16 << 20;
    private readonly GuestRam _ram = new(MemoryBytes);
    private readonly GuestMemory _memory;

    public BootLoaderTests() => _memory = new GuestMemory(_ram, (_, _) => { });

    public void Dispose() => _ram.Dispose();

    private static KernelImage Linux() =>
        KernelImage.Parse("k", TestImages.BzImage(TestImages.Gzip(TestImages.Elf32())), cache: null);

    [Fact]
    public void LinuxStartsFlatWithTheZeroPageInEsi()
    {
        BootState state = BootLoader.Load(Linux(), new BootInputs { CommandLine = "one two" }, _memory);

        Assert.Equal(TestImages.LoadAddress + 16, state.Eip);
        Assert.Equal(0u, state.Eax);
        Assert.Equal(0u, state.Ebx);
        Assert.Equal(0x11u, state.Cr0);
        Assert.Equal(0x00CF_9B00_0000_FFFFUL, Read64(state.GdtBase + state.Code.Selector));
        Assert.Equal(0x00CF_9300_0000_FFFFUL, Read64(state.GdtBase + state.Data.Selector));
        Assert.Equal(31u, state.GdtLimit);
        uint page = state.Esi;
        Assert.Equal(0x5372_6448u, Read32(page + 0x202));
        Assert.Equal(0xFF, Bytes(page + 0x210, 1)[0]);
        Assert.Equal(15u * 1024, Read32(page + 0x1E0));
        Assert.Equal("one two\0", Encoding.ASCII.GetString(Bytes(Read32(page + 0x228), 8)));
        Assert.Equal(0UL, Read64(page + 0x250));
    }

    [Fact]
    public void SegmentIsPlacedAndItsBssCleared()
    {
        byte[] code = TestImages.MakeCode(TestImages.CodeBytes);
        Assert.True(_memory.TryWriteUInt32(TestImages.LoadAddress + TestImages.CodeBytes + 100, 0xDEAD));

        _ = BootLoader.Load(Linux(), new BootInputs(), _memory);

        Assert.Equal(code, Bytes(TestImages.LoadAddress, code.Length));
        Assert.Equal(new byte[4096], Bytes(TestImages.LoadAddress + TestImages.CodeBytes, 4096));
    }

    [Fact]
    public void MemoryMapHasTheHoleBelowOneMebibyteAndWhatWasSetAside()
    {
        var acpi = new MemoryRange(0xF0_0000, 0x1_0000, MemoryKind.AcpiReclaimable);

        BootState state = BootLoader.Load(Linux(), new BootInputs { SetAside = [acpi] }, _memory);

        var found = new List<MemoryRange>();
        for (uint i = 0; i < Bytes(state.Esi + 0x1E8, 1)[0]; i++)
        {
            ulong at = state.Esi + 0x2D0 + (i * 20);
            found.Add(new MemoryRange(Read64(at), Read64(at + 8), (MemoryKind)Read32(at + 16)));
        }

        Assert.Equal(
            [
                new MemoryRange(0, 0xA_0000, MemoryKind.Ram),
                new MemoryRange(0xA_0000, 0x6_0000, MemoryKind.Reserved),
                new MemoryRange(0x10_0000, 0xE0_0000, MemoryKind.Ram),
                acpi,
                new MemoryRange(0xF1_0000, 0xF_0000, MemoryKind.Ram),
            ],
            found);
    }

    [Fact]
    public void MemoryBeyondThePciHoleContinuesAtFourGibibytes()
    {
        using var ram = new GuestRam(5UL << 30);
        var memory = new GuestMemory(ram, (_, _) => { });

        IReadOnlyList<MemoryRange> map = E820Map.Make(memory, []);

        Assert.Equal(new MemoryRange(0x10_0000, 0xBFF0_0000, MemoryKind.Ram), map[2]);
        Assert.Equal(new MemoryRange(1UL << 32, 2UL << 30, MemoryKind.Ram), map[3]);
    }

    [Fact]
    public void InitrdsAreJoinedAtMultiplesOfFourBelowTheTop()
    {
        var inputs = new BootInputs
        {
            Initrds = [new InitrdFile("a", "abcde"u8.ToArray()), new InitrdFile("b", "xyz"u8.ToArray())],
        };

        BootState state = BootLoader.Load(Linux(), inputs, _memory);

        uint address = Read32(state.Esi + 0x218);
        Assert.Equal(11u, Read32(state.Esi + 0x21C));
        Assert.Equal(MemoryBytes - 4096, address);
        Assert.Equal("abcde\0\0\0xyz"u8.ToArray(), Bytes(address, 11));
    }

    [Fact]
    public void InitrdStaysBelowTheKernelsLimit()
    {
        byte[] image = TestImages.BzImage(TestImages.Gzip(TestImages.Elf32()));
        TestImages.Put32(image, 0x22C, 0x7F_FFFF);
        KernelImage kernel = KernelImage.Parse("k", image, cache: null);

        BootState state = BootLoader.Load(
            kernel, new BootInputs { Initrds = [new InitrdFile("a", new byte[100])] }, _memory);

        Assert.Equal(0x7F_F000u, Read32(state.Esi + 0x218));
    }

    [Fact]
    public void InitrdGoesBelowTheKernelWhereThereIsNoRoomAbove()
    {
        const uint high = 14 << 20;
        byte[] elf = TestImages.Elf32(entry: high + 16);
        TestImages.Put32(elf, 52 + 12, high);
        KernelImage kernel = KernelImage.Parse("k", TestImages.BzImage(TestImages.Gzip(elf)), cache: null);

        BootState state = BootLoader.Load(
            kernel, new BootInputs { Initrds = [new InitrdFile("a", new byte[4 << 20])] }, _memory);

        Assert.Equal(high - (4u << 20), Read32(state.Esi + 0x218));
    }

    [Theory]
    [InlineData(100, 0x7F_F000UL)]
    [InlineData(8 << 20, 0xBF80_0000UL)]
    [InlineData(31 << 20, 0x1_0010_0000UL)]
    public void InitrdOfASixtyFourBitKernelLeavesItsLimitOnlyWhenItMust(int bytes, ulong expected)
    {
        // The kernel takes 1 to 2 MiB, or in the last case all but 29 MiB below the hole.
        using var ram = new GuestRam(GuestRam.HoleStart + (32 << 20));
        var memory = new GuestMemory(ram, (_, _) => { });
        byte[] image = TestImages.BzImage("BZh"u8.ToArray());
        TestImages.Put16(image, 0x236, 3);
        TestImages.Put32(image, 0x22C, 0x7F_FFFF);
        TestImages.Put32(image, 0x260, bytes == 31 << 20 ? 0xBE20_0000u : 0x10_0000);
        BootInputs inputs = new() { Initrds = [new InitrdFile("a", new byte[bytes])] };

        BootState state = BootLoader.Load(KernelImage.Parse("k", image, cache: null), inputs, memory);

        ulong page = state.Esi;
        Assert.True(memory.TryReadUInt32(page + 0x218, out uint address));
        Assert.True(memory.TryReadUInt32(page + 0x0C0, out uint addressHigh));
        Assert.True(memory.TryReadUInt32(page + 0x21C, out uint length));
        Assert.True(memory.TryReadUInt32(page + 0x0C4, out uint lengthHigh));
        Assert.Equal(expected, address | ((ulong)addressHigh << 32));
        Assert.Equal((ulong)bytes, length | ((ulong)lengthHigh << 32));

        TestImages.Put16(image, 0x236, 1);
        KernelImage low = KernelImage.Parse("k", image, cache: null);
        Assert.Equal(bytes == 100, Succeeds(() => BootLoader.Load(low, inputs, memory)));
    }

    [Fact]
    public void SeedIsHandedOverAsSetupData()
    {
        BootState state = BootLoader.Load(Linux(), new BootInputs { Entropy = new Sevens() }, _memory);

        ulong data = Read64(state.Esi + 0x250);
        Assert.Equal(0UL, Read64(data));
        Assert.Equal(9u, Read32(data + 8));
        Assert.Equal(32u, Read32(data + 12));
        Assert.Equal(0x0707_0707u, Read32(data + 44));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SixtyFourBitLinuxStartsInLongModeOnAnIdentityMap(bool packed)
    {
        byte[] payload = packed ? "BZh"u8.ToArray() : TestImages.Elf64();
        byte[] image = TestImages.BzImage(payload);
        TestImages.Put16(image, 0x236, 1);
        KernelImage kernel = KernelImage.Parse("k", image, cache: null);

        BootState state = BootLoader.Load(kernel, new BootInputs(), _memory);

        Assert.Equal(64, kernel.Bits);
        Assert.Equal(packed ? 0x10_0200 : TestImages.LoadAddress, state.Eip);
        Assert.Equal(0x5372_6448u, Read32(state.Esi + 0x202));
        Assert.Equal(0x8000_0011u, state.Cr0);
        Assert.Equal(0x20u, state.Cr4);
        Assert.Equal(0x500u, state.Efer);
        Assert.Equal(0x00AF_9B00_0000_FFFFUL, Read64(state.GdtBase + state.Code.Selector));
        Assert.Equal(0xA09Bu, state.Code.Attributes);
        foreach (ulong linear in (ulong[])[0, 0x2000, 0x12_3456, 0x4000_0000, 0xFFFF_FFFF])
        {
            Assert.Equal(linear, Walk(state.Cr3, linear));
        }

        Assert.Null(Walk(state.Cr3, 1UL << 32));
        Assert.Null(Walk(state.Cr3, 1UL << 39));
    }

    [Fact]
    public void PvhKernelGetsItsStartInfo()
    {
        KernelImage kernel = KernelImage.Parse("k", TestImages.Elf64Pvh(), cache: null);
        var inputs = new BootInputs
        {
            CommandLine = "console=ttyS0",
            Initrds = [new InitrdFile("first", "12345"u8.ToArray())],
            AcpiRsdpAddress = 0xE_1230,
        };

        BootState state = BootLoader.Load(kernel, inputs, _memory);

        Assert.Equal(KernelKind.Pvh, kernel.Kind);
        Assert.Equal(TestImages.LoadAddress + 32, state.Eip);
        Assert.Equal(0x11u, state.Cr0);
        Assert.Equal(0u, state.Efer);
        Assert.Equal(0xC09Bu, state.Code.Attributes);
        uint info = state.Ebx;
        Assert.Equal(0x336E_C578u, Read32(info));
        Assert.Equal(1u, Read32(info + 4));
        Assert.Equal(0u, Read32(info + 8));
        Assert.Equal(1u, Read32(info + 12));
        ulong module = Read64(info + 16);
        Assert.Equal("12345"u8.ToArray(), Bytes(Read64(module), (int)Read64(module + 8)));
        Assert.Equal("console=ttyS0", Text(Read64(info + 24)));
        Assert.Equal(0xE_1230UL, Read64(info + 32));
        Assert.Equal(3u, Read32(info + 48));
        ulong map = Read64(info + 40);
        Assert.Equal((0UL, 0xA_0000UL, 1u), (Read64(map), Read64(map + 8), Read32(map + 16)));
        Assert.Equal((0x10_0000UL, 1u), (Read64(map + 48), Read32(map + 64)));
    }

    [Fact]
    public void MultibootKernelGetsItsInformation()
    {
        KernelImage kernel = KernelImage.Parse("k", TestImages.MultibootElf(), cache: null);
        var inputs = new BootInputs
        {
            CommandLine = "console=com0",
            Initrds =
            [
                new InitrdFile("first", "12345"u8.ToArray()),
                new InitrdFile("second", "6"u8.ToArray()),
            ],
        };

        BootState state = BootLoader.Load(kernel, inputs, _memory);

        Assert.Equal(0x2BAD_B002u, state.Eax);
        uint info = state.Ebx;
        Assert.Equal(0x24Du, Read32(info));
        Assert.Equal(640u, Read32(info + 4));
        Assert.Equal(15u * 1024, Read32(info + 8));
        Assert.Equal("console=com0", Text(Read32(info + 16)));
        Assert.Equal(2u, Read32(info + 20));
        uint modules = Read32(info + 24);
        uint firstLength = Read32(modules + 4) - Read32(modules);
        Assert.Equal("12345"u8.ToArray(), Bytes(Read32(modules), (int)firstLength));
        Assert.Equal("second", Text(Read32(modules + 16 + 8)));
        Assert.Equal(0u, Read32(modules + 16) & 4095);
        uint map = Read32(info + 48);
        Assert.Equal(20u, Read32(map));
        Assert.Equal(0xA_0000UL, Read64(map + 12));
        Assert.Equal(3u * 24, Read32(info + 44));
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        BootInputs big = new() { Initrds = [new InitrdFile("big.img", new byte[15 << 20])] };
        AssertRefused("big.img", () => BootLoader.Load(Linux(), big, _memory));
        AssertRefused("shorten --append", () => BootLoader.Load(
            Linux(), new BootInputs { CommandLine = new string('x', 2048) }, _memory));
        AssertRefused("NUL", () => BootLoader.Load(
            Linux(), new BootInputs { CommandLine = "a\0b" }, _memory));
        using var small = new GuestRam(2 << 20);
        AssertRefused("larger --memory", () => BootLoader.Load(
            Linux(), new BootInputs(), new GuestMemory(small, (_, _) => { })));
        using var tiny = new GuestRam(4096);
        AssertRefused("larger --memory", () => BootLoader.Load(
            Linux(), new BootInputs(), new GuestMemory(tiny, (_, _) => { })));
    }

    [Fact]
    public void KernelLinkedForLowMemoryIsRefused()
    {
        byte[] elf = TestImages.Elf32(entry: 0x7C10);
        TestImages.Put32(elf, 52 + 12, 0x7C00);
        KernelImage kernel = KernelImage.Parse("k", elf, cache: null);

        AssertRefused("0x7c00", () => BootLoader.Load(kernel, new BootInputs(), _memory));
    }

    private static bool Succeeds(Action load)
    {
        try
        {
            load();
            return true;
        }
        catch (LhypeException)
        {
            return false;
        }
    }

    private static void AssertRefused(string expected, Action load) =>
        Assert.Contains(expected, Assert.Throws<LhypeException>(load).Message, StringComparison.Ordinal);

    /// <summary>The physical address of <paramref name="linear"/> by the four-level tables at
    /// <paramref name="cr3"/>; null if it is not mapped.</summary>
    private ulong? Walk(ulong cr3, ulong linear)
    {
        ulong table = cr3;
        for (int shift = 39; shift >= 12; shift -= 9)
        {
            ulong entry = Read64(table + (((linear >> shift) & 511) * 8));
            if ((entry & 1) == 0)
            {
                return null;
            }

            ulong within = (1UL << shift) - 1;
            if ((entry & 0x80) != 0)
            {
                return (entry & 0x000F_FFFF_FFFF_F000 & ~within) | (linear & within);
            }

            table = entry & 0x000F_FFFF_FFFF_F000;
        }

        return table | (linear & 4095);
    }

    private byte[] Bytes(ulong gpa, int length)
    {
        var bytes = new byte[length];
        Assert.True(_memory.TryRead(gpa, bytes));
        return bytes;
    }

    private uint Read32(ulong gpa) => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(gpa, 4));

    private ulong Read64(ulong gpa) => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(gpa, 8));

    private string Text(ulong gpa)
    {
        string text = Encoding.ASCII.GetString(Bytes(gpa, 64));
        return text[..text.IndexOf('\0', StringComparison.Ordinal)];
    }

    private sealed class Sevens : IEntropy
    {
        public void Fill(Span<byte> destination) => destination.Fill(7);
    }
}
