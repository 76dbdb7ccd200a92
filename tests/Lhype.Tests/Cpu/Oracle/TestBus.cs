// A machine with nothing in it: what EngineHarness puts around a vCPU.

using Lhype.Cpu;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>Ports and MMIO read as all ones, writes vanish, no interrupt ever comes.</summary>
internal sealed class TestBus : ICpuBus
{
    public bool InterruptRequested => false;

    public ulong TscHz => 1_000_000_000;

    public uint ReadPort(ushort port, int size) => size == 4 ? 0xFFFF_FFFF : (1u << (size * 8)) - 1;

    public void WritePort(ushort port, int size, uint value)
    {
    }

    public ulong ReadMmio(ulong gpa, int size) => size == 8 ? ulong.MaxValue : (1ul << (size * 8)) - 1;

    public void WriteMmio(ulong gpa, int size, ulong value)
    {
    }

    public int AcknowledgeInterrupt() => -1;

    public bool TryReadMsr(uint index, out ulong value)
    {
        value = 0;
        return false;
    }

    public MsrResult WriteMsr(uint index, ulong value) => MsrResult.NotHandled;

    public void Poll()
    {
    }
}
