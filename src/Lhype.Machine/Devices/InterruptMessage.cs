// An interrupt message as it travels between APICs: from the IO-APIC, from a device's MSI write, or from an
// interrupt command register, to local APICs. Source: SDM vol. 3, 11.11 (message address and data formats).

namespace Lhype.Machine.Devices;

/// <summary>Delivery modes of APIC messages and local vector table entries (SDM vol. 3, 11.5.1).</summary>
public enum DeliveryMode : byte
{
    /// <summary>The vector in the message.</summary>
    Fixed = 0,
    /// <summary>The vector in the message, to one of several destinations.</summary>
    LowestPriority = 1,
    /// <summary>System management interrupt; this machine has no SMM and ignores it.</summary>
    Smi = 2,
    /// <summary>Non-maskable interrupt.</summary>
    Nmi = 4,
    /// <summary>INIT.</summary>
    Init = 5,
    /// <summary>Start-up; only in the interrupt command register.</summary>
    StartUp = 6,
    /// <summary>The vector comes from the 8259.</summary>
    ExtInt = 7,
}

/// <summary>One message on the way to a local APIC.</summary>
/// <param name="Destination">APIC id or logical destination; 0xFF is everybody.</param>
/// <param name="Logical">How <paramref name="Destination"/> is meant.</param>
/// <param name="Mode">What to deliver.</param>
/// <param name="Vector">For fixed and lowest priority.</param>
/// <param name="Level">True for a level-triggered source, which waits for an EOI message.</param>
public readonly record struct InterruptMessage(
    byte Destination, bool Logical, DeliveryMode Mode, byte Vector, bool Level)
{
    /// <summary>Decodes a write to the message window (address bits 31-20 = 0xFEE).</summary>
    public static InterruptMessage FromMsi(ulong address, uint data) => new(
        (byte)(address >> 12), (address & 0x04) != 0, (DeliveryMode)((data >> 8) & 7), (byte)data,
        (data & 0x8000) != 0);
}
