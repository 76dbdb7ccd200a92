// The cache of pulled images: $XDG_CACHE_HOME/lhype. A pull fetches packages (PrivateApt), builds the
// initramfs (Initramfs) in a directory of its own and then switches a symbolic link, so that a reader sees
// the old image or the new one and a killed pull leaves nothing but a directory that the next pull removes.
// One pull at a time per cache, by a lock file. Called by `lhype images` and by `lhype run` with an image
// name.
//
//   images/debian-i386 -> .debian-i386-3f2a...   vmlinuz, initrd.img, xfs.img, btrfs.img, busybox, image.json
//   apt/i386/                                     apt's private state and the downloaded packages
//   installed/6.1.0-50-686-b1946ac9...            initrd.img and so on of a kernel installed on the host

using System;
using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Threading;
using Lhype.Host;

namespace Lhype.Images;

/// <summary>What a pulled image was made of; stored beside it.</summary>
/// <param name="Release">The kernel's release, as <c>uname -r</c> prints it.</param>
/// <param name="Version">The kernel package's version.</param>
/// <param name="Recipe"><see cref="Initramfs.Recipe"/> at the time.</param>
/// <param name="Packages">File names of the packages in apt's archives, the kernel first, then
/// busybox.</param>
internal sealed record ImageFacts(string Release, string Version, string Recipe,
    IReadOnlyList<string> Packages);

/// <summary>Serialisation code for <see cref="ImageFacts"/>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ImageFacts))]
internal sealed partial class ImageFactsJson : JsonSerializerContext;

/// <summary>Pulled images below one cache directory.</summary>
internal sealed class ImageStore
{
    private const string Advice = "pass your own files with --kernel and --initrd";

    private readonly string _root;

    /// <summary>Uses the cache below <paramref name="root"/>.</summary>
    public ImageStore(string root) => _root = root;

    /// <summary>The user's cache: $XDG_CACHE_HOME/lhype, or ~/.cache/lhype.</summary>
    public static string DefaultRoot
    {
        get
        {
            string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            if (string.IsNullOrEmpty(cache) || !Path.IsPathRooted(cache))
            {
                cache = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile),
                    ".cache");
            }

            return Path.Combine(cache, "lhype");
        }
    }

    /// <summary>Where the kernel of <paramref name="image"/> is, once pulled.</summary>
    public string KernelPath(ImageDefinition image) => Path.Combine(_root, "images", image.Name, "vmlinuz");

    /// <summary>Where the initramfs of <paramref name="image"/> is, once pulled.</summary>
    public string InitrdPath(ImageDefinition image) =>
        Path.Combine(_root, "images", image.Name, "initrd.img");

    /// <summary>The initial RAM disks for <paramref name="image"/>, once pulled, when its disks hold
    /// <paramref name="fileSystems"/>.</summary>
    public IReadOnlyList<string> Initrds(ImageDefinition image, IEnumerable<string> fileSystems) =>
        InitrdsIn(Path.Combine(_root, "images", image.Name), fileSystems);

    /// <summary>The pulled image whose kernel is what <paramref name="kernel"/> holds; null if there is
    /// none.</summary>
    public ImageDefinition? WithKernel(ReadOnlySpan<byte> kernel)
    {
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            string file = KernelPath(image);
            if (Facts(image) is not null && new FileInfo(file).Length == kernel.Length
                && kernel.SequenceEqual(File.ReadAllBytes(file)))
            {
                return image;
            }
        }

        return null;
    }

    /// <summary>The initial RAM disks for a kernel whose modules are installed in
    /// <paramref name="modulesDirectory"/>, made on first use; null if no image of
    /// <paramref name="architecture"/> is there to take busybox from.</summary>
    public IReadOnlyList<string>? InitrdsOfInstalled(
        string modulesDirectory, string architecture, IEnumerable<string> fileSystems)
    {
        string? busybox = null;
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            string file = Path.Combine(_root, "images", image.Name, "busybox");
            busybox ??= image.Architecture == architecture && File.Exists(file) ? file : null;
        }

        if (busybox is null)
        {
            return null;
        }

        // An update of the package renews the directory, and so our name for it.
        string release = Path.GetFileName(modulesDirectory);
        string state = $"{Directory.GetLastWriteTimeUtc(modulesDirectory).Ticks:x}-{Initramfs.Recipe}";
        string final = Path.Combine(_root, "installed", $"{release}-{state}");
        if (!Directory.Exists(final))
        {
            Locked(new PullProgress.Silent(), () => MakeInstalled(modulesDirectory, busybox, final));
        }

        return InitrdsIn(final, fileSystems);
    }

    /// <summary>What is known of the pulled image; null when it is not there.</summary>
    public ImageFacts? Facts(ImageDefinition image)
    {
        try
        {
            string directory = Path.Combine(_root, "images", image.Name);
            bool complete = File.Exists(KernelPath(image)) && File.Exists(InitrdPath(image));
            string json = File.ReadAllText(Path.Combine(directory, "image.json"));
            return complete ? JsonSerializer.Deserialize(json, ImageFactsJson.Default.ImageFacts) : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>True when <paramref name="image"/> is there and as this version builds it.</summary>
    public bool IsReady(ImageDefinition image) => Facts(image)?.Recipe == Initramfs.Recipe;

    /// <summary>Makes <paramref name="image"/> ready: does nothing when it is, builds it again from the
    /// packages in the cache when only the recipe changed, and pulls it otherwise.</summary>
    public void Ensure(ImageDefinition image, IPullProgress progress)
    {
        if (IsReady(image))
        {
            return;
        }

        Locked(progress, () =>
        {
            if (IsReady(image))
            {
                return;
            }

            ImageFacts? facts = Facts(image);
            List<string> packages = [];
            foreach (string name in facts?.Packages ?? [])
            {
                packages.Add(Path.Combine(Apt(image).Archives, Path.GetFileName(name)));
            }

            if (facts is not null && packages.Count == 2 && packages.TrueForAll(File.Exists))
            {
                Build(image, facts.Release, facts.Version, packages, progress);
            }
            else
            {
                Fetch(image, progress);
            }
        });
    }

    /// <summary>Fetches the newest packages of <paramref name="image"/> and builds it.</summary>
    public void Pull(ImageDefinition image, IPullProgress progress) =>
        Locked(progress, () => Fetch(image, progress));

    private PrivateApt Apt(ImageDefinition image) =>
        new(Path.Combine(_root, "apt", image.Architecture), image.Architecture);

    private void Fetch(ImageDefinition image, IPullProgress progress)
    {
        if (!PrivateApt.Available)
        {
            throw new LhypeException(
                $"{image.Name} is made of Debian packages, and this host has no apt-get, apt-cache "
                + $"and dpkg-deb to fetch them: {Advice}.");
        }

        PrivateApt apt = Apt(image);
        progress.Begin("fetching Debian's package lists");
        apt.Update(progress);

        // The meta package depends on the kernel package proper: "linux-image-6.1.0-50-686 (= 6.1.176-1)".
        string package = apt.Field(image.KernelPackage, "Depends").Split(' ', ',')[0];
        string version = apt.Field(package, "Version");
        string release = package["linux-image-".Length..];
        progress.Begin($"fetching kernel {release}");
        string kernel = apt.Download(package, progress);
        progress.Begin("fetching busybox");
        string busybox = apt.Download("busybox-static", progress);
        Build(image, release, version, [kernel, busybox], progress);
        RemoveSuperseded(apt.Archives);
    }

    private void Build(
        ImageDefinition image, string release, string version, List<string> packages, IPullProgress progress)
    {
        string images = Path.Combine(_root, "images");
        Directory.CreateDirectory(images);
        RemoveLeftovers(images);

        string work = Path.Combine(images, ".new");
        string unpacked = Path.Combine(work, "unpacked");
        Directory.CreateDirectory(unpacked);
        progress.Begin($"unpacking kernel {release}");
        for (int index = 0; index < packages.Count; index++)
        {
            Unpack(packages[index], unpacked);
            progress.Report((index + 1.0) / packages.Count);
        }

        progress.Begin("building the initramfs");
        File.Copy(Path.Combine(unpacked, "boot", "vmlinuz-" + release), Path.Combine(work, "vmlinuz"));
        byte[] busybox = File.ReadAllBytes(Path.Combine(unpacked, "bin", "busybox"));
        File.WriteAllBytes(Path.Combine(work, "busybox"), busybox);
        WriteInitrds(work, busybox, Path.Combine(unpacked, "lib", "modules", release));
        ImageFacts facts =
            new(release, version, Initramfs.Recipe, packages.ConvertAll(file => Path.GetFileName(file)));
        File.WriteAllText(
            Path.Combine(work, "image.json"),
            JsonSerializer.Serialize(facts, ImageFactsJson.Default.ImageFacts));
        Directory.Delete(unpacked, recursive: true);
        Publish(image, images, work);
    }

    private void MakeInstalled(string modulesDirectory, string busybox, string final)
    {
        string parent = Path.Combine(_root, "installed");
        string work = Path.Combine(parent, ".new");
        Directory.CreateDirectory(work);
        string release = Path.GetFileName(modulesDirectory);
        foreach (string older in Directory.EnumerateDirectories(parent, release + "-*"))
        {
            Directory.Delete(older, recursive: true);
        }

        WriteInitrds(work, File.ReadAllBytes(busybox), modulesDirectory);
        Directory.Move(work, final);
    }

    private static void WriteInitrds(string directory, byte[] busybox, string modulesDirectory)
    {
        KernelModules modules = new(modulesDirectory);
        using (FileStream output = File.Create(Path.Combine(directory, "initrd.img")))
        {
            Initramfs.Write(output, busybox, modules);
        }

        foreach (string fileSystem in Initramfs.ExtraFileSystems)
        {
            if (modules.Has(fileSystem))
            {
                using FileStream output = File.Create(Path.Combine(directory, fileSystem + ".img"));
                Initramfs.WriteFileSystem(output, fileSystem, modules);
            }
        }
    }

    private static List<string> InitrdsIn(string directory, IEnumerable<string> fileSystems)
    {
        List<string> files = [Path.Combine(directory, "initrd.img")];
        foreach (string fileSystem in fileSystems)
        {
            string file = Path.Combine(directory, fileSystem + ".img");
            if (File.Exists(file))
            {
                files.Add(file);
            }
        }

        return files;
    }

    private static void Unpack(string package, string directory)
    {
        HostProgramResult result = HostProgram.Run("dpkg-deb", ["-x", package, directory]);
        if (result.ExitCode != 0)
        {
            throw new LhypeException(result.DiskFull
                ? $"The disk is full: {Path.GetFileName(package)} could not be unpacked in {directory}; "
                    + "make room and try again."
                : $"Could not unpack {package} ({result.Reason}); delete it and pull the image again.");
        }
    }

    /// <summary>Makes the finished directory <paramref name="work"/> the image, by renaming a link over the
    /// old one.</summary>
    private static void Publish(ImageDefinition image, string images, string work)
    {
        string final = Path.Combine(images, $".{image.Name}-{Guid.NewGuid():N}");
        Directory.Move(work, final);
        string link = Path.Combine(images, ".new-link");
        File.Delete(link);
        File.CreateSymbolicLink(link, Path.GetFileName(final));

        // .NET moves what a link points to; mv -T renames the link itself over the old one in one step.
        HostProgramResult moved = HostProgram.Run("mv", ["-T", "-f", link, Path.Combine(images, image.Name)]);
        if (moved.ExitCode != 0)
        {
            throw new IOException(moved.Reason);
        }
    }

    /// <summary>Removes what killed pulls and replaced images left. The image in use stays readable: a guest
    /// has loaded its kernel into memory before it runs.</summary>
    private static void RemoveLeftovers(string images)
    {
        HashSet<string?> inUse = [];
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            inUse.Add(new FileInfo(Path.Combine(images, image.Name)).LinkTarget);
        }

        foreach (string directory in Directory.EnumerateDirectories(images, ".*"))
        {
            if (!inUse.Contains(Path.GetFileName(directory)))
            {
                Directory.Delete(directory, recursive: true);
            }
        }
    }

    /// <summary>Removes packages that no pulled image was made of.</summary>
    private void RemoveSuperseded(string archives)
    {
        HashSet<string> inUse = [];
        foreach (ImageDefinition image in ImageCatalog.All)
        {
            inUse.UnionWith(Facts(image)?.Packages ?? []);
        }

        foreach (string file in Directory.EnumerateFiles(archives, "*.deb"))
        {
            if (!inUse.Contains(Path.GetFileName(file)))
            {
                File.Delete(file);
            }
        }
    }

    /// <summary>Runs <paramref name="work"/> while no other process pulls into this cache, and turns the
    /// host's file errors into one sentence.</summary>
    private void Locked(IPullProgress progress, Action work)
    {
        try
        {
            Directory.CreateDirectory(_root);
            using FileStream held = AcquireLock(progress);
            work();
        }
        catch (IOException error)
        {
            throw new LhypeException(IsDiskFull(error)
                ? $"The disk is full: the image could not be stored in {_root}; make room and try again."
                : $"The image cache {_root} cannot be used ({error.Message.TrimEnd('.')}); set "
                    + "XDG_CACHE_HOME to a directory of yours.", error);
        }
        catch (UnauthorizedAccessException error)
        {
            throw new LhypeException(
                $"The image cache {_root} cannot be written; set XDG_CACHE_HOME to a directory of yours.",
                error);
        }
    }

    private FileStream AcquireLock(IPullProgress progress)
    {
        string path = Path.Combine(_root, "lock");
        for (bool told = false; ; told = true)
        {
            try
            {
                // FileShare.None is flock(LOCK_EX) on Linux; the kernel drops it when a process dies.
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (File.Exists(path))
            {
                if (!told)
                {
                    progress.Begin("waiting for another lhype that is pulling");
                }

                Thread.Sleep(200);
            }
        }
    }

    /// <summary>ENOSPC (28) or EDQUOT (122), which .NET leaves in the low bits of HResult.</summary>
    private static bool IsDiskFull(IOException error) => (error.HResult & 0xFFFF) is 28 or 122 or 0x70;
}
