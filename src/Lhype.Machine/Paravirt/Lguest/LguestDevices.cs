// Chooses the devices of a guest by its dialect. Called by LguestHost when the dialect is settled.

using System.IO;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Makes <see cref="ILguestDevices"/>.</summary>
internal static class LguestDevices
{
    /// <summary>The devices <paramref name="board"/>'s dialect knows, configured as the board says, not yet
    /// placed.</summary>
    internal static ILguestDevices Create(LguestBoard board) => new NoDevices();

    private sealed class NoDevices : ILguestDevices
    {
        public void Place()
        {
        }

        public bool Notify(uint address) => false;

        public bool BindDma(uint key, uint buffers, uint count, byte irq) => false;

        public void SendDma(uint key, uint dma)
        {
        }

        public void Save(BinaryWriter writer)
        {
        }

        public void Restore(BinaryReader reader)
        {
        }
    }
}
