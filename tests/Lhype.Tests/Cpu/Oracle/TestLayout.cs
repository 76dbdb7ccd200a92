// Where a snippet's code, data and stack live: the same linear addresses natively (mapped below 4 GiB in
// this process) and in the guest (page tables made by EngineHarness), so that results can be compared byte
// for byte. Everything else below 4 GiB is unmapped on both sides and faults alike.

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>One mapped run of pages. <paramref name="Offset"/> is its place in <see
/// cref="TestMemory"/>.</summary>
internal sealed record TestRegion(string Name, uint Address, int Offset, int Length, bool Writable);

/// <summary>The linear address space of every snippet. Sizes in bytes.</summary>
internal static class TestLayout
{
    /// <summary>Code, readable, writable and executable; the snippet starts here unless its file says
    /// otherwise.</summary>
    internal const uint Code = 0x1000_0000;
    /// <summary>Read-write data; the page before it is unmapped.</summary>
    internal const uint Data = 0x2000_0000;
    /// <summary>One read-only page right after the data; the page after that is unmapped.</summary>
    internal const uint ReadOnly = 0x2000_4000;
    /// <summary>Stack pages; the page before and the page after are unmapped.</summary>
    internal const uint Stack = 0x3000_0000;
    /// <summary>ESP at the start of a snippet.</summary>
    internal const uint StackPointer = 0x3000_1F00;
    /// <summary>The code pages once more: writes here change code under another linear address.</summary>
    internal const uint Alias = 0x4000_0000;

    internal const int CodeLength = 4 * 4096;
    internal const int DataLength = 4 * 4096;
    internal const int StackLength = 2 * 4096;

    /// <summary>Bytes of all regions together, aliases counted once.</summary>
    internal const int TotalLength = CodeLength + DataLength + 4096 + StackLength;

    internal const int CodeOffset = 0;
    internal const int DataOffset = CodeLength;
    internal const int StackOffset = DataOffset + DataLength + 4096;

    /// <summary>User code and data selectors of Linux, which the guest's GDT repeats.</summary>
    internal const ushort UserCode = 0x23;
    internal const ushort UserData = 0x2B;

    internal static readonly TestRegion[] Regions =
    [
        new("code", Code, CodeOffset, CodeLength, true),
        new("data", Data, DataOffset, DataLength, true),
        new("read-only", ReadOnly, DataOffset + DataLength, 4096, false),
        new("stack", Stack, StackOffset, StackLength, true),
        new("alias", Alias, CodeOffset, CodeLength, true),
    ];

    /// <summary>Offset in <see cref="TestMemory"/> of a linear address, or -1 if it is not mapped.</summary>
    internal static int OffsetOf(uint linear)
    {
        foreach (TestRegion region in Regions)
        {
            if (linear - region.Address < (uint)region.Length)
            {
                return region.Offset + (int)(linear - region.Address);
            }
        }

        return -1;
    }

    /// <summary>Linear address of an offset in <see cref="TestMemory"/>.</summary>
    internal static uint AddressOf(int offset)
    {
        foreach (TestRegion region in Regions)
        {
            if ((uint)(offset - region.Offset) < (uint)region.Length)
            {
                return region.Address + (uint)(offset - region.Offset);
            }
        }

        return 0;
    }
}
